//! The text of `top_rows`.

use super::{Form, NAME, Ranked, TopRows};
use crate::attention::sparse::Tail;
use crate::launch::{Part, Shader, part};

impl TopRows {
    pub(super) fn workgroup_bytes(&self, form: Form) -> u32 {
        let Form { lanes, subgroups } = form;
        let words = (4 * lanes).max(2048);
        let scan = if subgroups > 0 { subgroups } else { lanes + lanes / 16 };
        let rest = if self.tail() == Tail::Mean { 2 * lanes } else { 0 };
        // Bins or a tile, keys of a bin, three numbers and what was found, which begins at 16 bytes.
        4 * (words + 512 + 3 + 4 + scan + rest)
    }

    pub(super) fn shader(&self, form: Form) -> Shader {
        let Form { lanes, subgroups } = form;
        let preamble = format!(
            "const QUERIES: u32 = {}u;\nconst LANES: u32 = {lanes}u;\nconst SUBGROUPS: u32 = {}u;\n",
            self.lists.queries(),
            subgroups.max(1),
        );
        let parts: Vec<Part> = vec![
            part!("attention/top_rows/params.wgsl"),
            part!("attention/tiles/segment.wgsl"),
            match self.map.page_rows {
                0 => part!("attention/rows_contiguous.wgsl"),
                _ => part!("attention/rows_paged.wgsl"),
            },
            match self.ranked {
                Ranked::Index { .. } => part!("attention/sparse/index_map.wgsl"),
                Ranked::Seen { .. } => part!("attention/top_rows/of_all.wgsl"),
            },
            part!("attention/top_rows/keys.wgsl"),
            match self.ranked {
                Ranked::Seen { .. } if self.lists.queries() > 1 => {
                    part!("attention/top_rows/ranks_made.wgsl")
                }
                _ => part!("attention/top_rows/ranks_given.wgsl"),
            },
            match (self.ranked, self.tail()) {
                (Ranked::Seen { .. }, _) => part!("attention/top_rows/picked.wgsl"),
                (_, Tail::Mean) => part!("attention/top_rows/rest_mean.wgsl"),
                (_, Tail::None) => part!("attention/top_rows/rest_none.wgsl"),
            },
            match subgroups {
                0 => part!("attention/top_rows/lanes_plain.wgsl"),
                _ => part!("attention/top_rows/lanes_subgroup.wgsl"),
            },
            part!("attention/top_rows/select.wgsl"),
        ];
        let mut parts = parts;
        if let Ranked::Index { .. } = self.ranked {
            parts.push(part!("attention/top_rows/of_index.wgsl"));
        }
        parts.push(part!("attention/top_rows.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }
}
