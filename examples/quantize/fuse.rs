//! Which layers become one.

use crate::select::Selection;
use anyhow::{Result, bail, ensure};
use std::collections::HashSet;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// `NAME=A,B,..`; with a `*` in each name, a rule for every text that it can stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) parts: Vec<String>,
}

/// A layer to be made of others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Places among the chosen matrices, in the order of the rows.
    pub(crate) parts: Vec<usize>,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parts) = text.split_once('=').ok_or("expected NAME=A,B,..")?;
        let parts: Vec<String> = parts.split(',').map(str::to_owned).collect();
        let names = || parts.iter().map(String::as_str).chain([name]);
        if names().any(str::is_empty) {
            return Err("a name is empty".to_owned());
        }
        let stars = name.matches('*').count();
        if stars > 1 || names().any(|n| n.matches('*').count() != stars) {
            return Err("expected one `*` in every name, or in none".to_owned());
        }
        if let Some(twin) = parts.iter().enumerate().find(|(at, p)| parts[..*at].contains(p)) {
            return Err(format!("{} is there twice", twin.1));
        }
        Ok(Self { name: name.to_owned(), parts })
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.parts.join(","))
    }
}

impl Rule {
    /// The groups that this rule makes of layers with these names.
    fn groups(&self, layers: &[&str]) -> Result<Vec<Group>> {
        // Whatever part is there asks for the others, so that none stays behind unnoticed.
        let mut texts: Vec<&str> = Vec::new();
        for layer in layers {
            for text in self.parts.iter().filter_map(|part| captured(part, layer)) {
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        ensure!(!texts.is_empty(), "--fuse {}: no layer is called {}", self.name, self.parts[0]);
        let place = |name: String, group: &str| match layers.iter().position(|l| **l == name) {
            Some(at) => Ok(at),
            None => bail!("--fuse {group}: there is no layer {name}"),
        };
        let group = |text: &&str| {
            let name = self.name.replace('*', text);
            let parts = self.parts.iter().map(|part| place(part.replace('*', text), &name));
            Ok(Group { parts: parts.collect::<Result<_>>()?, name })
        };
        texts.iter().map(group).collect()
    }
}

/// The text that `*` stands for; for a name without one, the empty text.
pub(crate) fn captured<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        Some((before, after)) => name.strip_prefix(before)?.strip_suffix(after),
        None => (pattern == name).then_some(""),
    }
}

/// All groups of a selection, after checking that they can be made and written.
pub(crate) fn groups(rules: &[Rule], selection: &Selection) -> Result<Vec<Group>> {
    let layers: Vec<&str> = selection.chosen.iter().map(|c| c.layer.as_str()).collect();
    let mut groups = Vec::new();
    for rule in rules {
        groups.extend(rule.groups(&layers)?);
    }
    let mut used = HashSet::new();
    for Group { name, parts } in &groups {
        for &at in parts {
            ensure!(used.insert(at), "--fuse {name}: {} is already a part", layers[at]);
        }
        let cols = |at: usize| selection.chosen[at].shape.cols;
        if let Some(&odd) = parts.iter().find(|&&at| cols(at) != cols(parts[0])) {
            let (first, odd_name) = (layers[parts[0]], layers[odd]);
            bail!(
                "--fuse {name}: {odd_name} has {} columns and {first} has {}",
                cols(odd),
                cols(parts[0])
            );
        }
    }
    let kept = (0..layers.len()).filter(|at| !used.contains(at)).map(|at| layers[at]);
    let mut names: HashSet<&str> = kept.collect();
    for Group { name, .. } in &groups {
        ensure!(names.insert(name), "--fuse {name}: there is another layer of this name");
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [&str; 5] = ["h.0.q", "h.0.k", "h.10.q", "h.10.k", "out"];

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn group(name: &str, parts: &[usize]) -> Group {
        Group { name: name.to_owned(), parts: parts.to_vec() }
    }

    #[test]
    fn a_star_stands_for_the_same_text_in_every_name() {
        let groups = rule("h.*.qk=h.*.q,h.*.k").groups(&LAYERS).unwrap();
        assert_eq!(groups, [group("h.0.qk", &[0, 1]), group("h.10.qk", &[2, 3])]);
        let groups = rule("both=h.10.k,h.0.q").groups(&LAYERS).unwrap();
        assert_eq!(groups, [group("both", &[3, 0])]);
    }

    #[test]
    fn a_part_that_is_missing_is_named() {
        let error = |text: &str| rule(text).groups(&LAYERS).unwrap_err().to_string();
        assert_eq!(error("h.*.x=h.*.q,h.*.v"), "--fuse h.0.x: there is no layer h.0.v");
        assert_eq!(error("*x=*q,*ut"), "--fuse h.0.x: there is no layer h.0.ut");
        assert_eq!(error("x=h.1.q,h.1.k"), "--fuse x: no layer is called h.1.q");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (text, words) in [
            ("qkv", "NAME=A,B,.."),
            ("=q,k", "empty"),
            ("qkv=q,", "empty"),
            ("qkv=*.q,*.k", "one `*`"),
            ("*.qkv=*.q,k", "one `*`"),
            ("*.*=*.*.q", "one `*`"),
            ("qkv=q,k,q", "q is there twice"),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
