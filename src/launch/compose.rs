//! Joining a preamble and authored parts into one shader text.

use super::{Needs, Shader};
use std::fmt::Write as _;

/// Which WGSL front end will read the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Dialect {
    /// naga, which wgpu uses outside browsers. It knows subgroups without a directive and rejects
    /// the directive.
    Naga,
    /// The WGSL standard as browsers and tint read it.
    Standard,
}

impl Dialect {
    /// Why front ends of this dialect cannot read a shader with such needs; `None` where they can.
    pub fn obstacle(self, needs: &Needs) -> Option<&'static str> {
        let extends = self == Self::Standard && needs.matrix;
        extends.then_some("cooperative matrices are naga's own extension of WGSL")
    }
}

/// A composed shader and where each of its lines came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    text: String,
    /// First line (from 0) of each part, ascending; the part runs up to the next one.
    starts: Vec<(usize, &'static str)>,
}

impl Source {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, owned.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The authored file and its line (from 1) behind line `line` (from 1) of the text.
    pub fn locate(&self, line: usize) -> (&'static str, usize) {
        let line = line.saturating_sub(1);
        let after = self.starts.partition_point(|(start, _)| *start <= line);
        match after.checked_sub(1).and_then(|at| self.starts.get(at)) {
            Some((start, part)) => (part, line - start + 1),
            None => ("preamble", line + 1),
        }
    }
}

pub(super) fn compose(shader: &Shader, needs: &Needs, dialect: Dialect) -> Source {
    let mut text = String::new();
    if needs.f16 {
        text.push_str("enable f16;\n");
    }
    if needs.subgroups && dialect == Dialect::Standard {
        text.push_str("enable subgroups;\n");
    }
    // Whoever reads the standard dialect cannot read the rest either, see `Dialect::obstacle`.
    if needs.matrix && dialect == Dialect::Naga {
        text.push_str("enable wgpu_cooperative_matrix;\n");
    }
    text.push_str(&shader.preamble);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut starts = vec![(0, "preamble")];
    let mut line = text.lines().count();
    for part in &shader.parts {
        // A reader of the whole text, in a debugger say, sees where each file begins.
        let _ = writeln!(text, "// ---- {}", part.name);
        starts.push((line + 1, part.name));
        text.push_str(part.text);
        if !part.text.ends_with('\n') {
            text.push('\n');
        }
        line += 1 + part.text.lines().count();
    }
    Source { text, starts }
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;

    fn shader() -> Shader {
        let a = Part { name: "a.wgsl", text: "one\ntwo\n" };
        let b = Part { name: "b.wgsl", text: "three" };
        Shader {
            entry: "main",
            preamble: "const A: u32 = 1u;\n".to_owned(),
            parts: vec![a, b],
            constants: vec![],
        }
    }

    #[test]
    fn every_line_maps_back_to_its_part() {
        for needs in [
            Needs::default(),
            Needs { f16: true, ..Needs::default() },
            Needs { subgroups: true, ..Needs::default() },
            Needs { matrix: true, ..Needs::default() },
        ] {
            for dialect in [Dialect::Naga, Dialect::Standard] {
                let source = compose(&shader(), &needs, dialect);
                for (expected, part, line) in
                    [("one", "a.wgsl", 1), ("two", "a.wgsl", 2), ("three", "b.wgsl", 1)]
                {
                    let at = source.text().lines().position(|l| l == expected).unwrap() + 1;
                    assert_eq!(source.locate(at), (part, line), "{needs:?} {dialect:?}");
                }
                assert_eq!(source.locate(1).0, "preamble");
            }
        }
    }

    #[test]
    fn only_the_standard_dialect_enables_subgroups() {
        let needs = Needs { subgroups: true, f16: true, ..Needs::default() };
        let naga = compose(&shader(), &needs, Dialect::Naga).into_text();
        let standard = compose(&shader(), &needs, Dialect::Standard).into_text();
        assert!(naga.starts_with("enable f16;\nconst"));
        assert!(standard.starts_with("enable f16;\nenable subgroups;\nconst"));
    }
}
