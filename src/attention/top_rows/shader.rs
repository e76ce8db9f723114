//! The text of `top_rows`.

use super::stages::{BINS, CACHE, Form, Stage};
use super::{NAME, Ranked, TopRows};
use crate::attention::sparse::Tail;
use crate::launch::{Part, Shader, part};

impl TopRows {
    pub(super) fn workgroup_bytes(&self, stage: Stage, form: Form) -> u32 {
        let Form { lanes, subgroups } = form;
        let words = (stage.own_quads() * lanes).max(BINS);
        let scan = if subgroups > 0 { subgroups } else { lanes + lanes / 16 };
        let mean = self.tail() == Tail::Mean && stage != Stage::Count;
        let rest = if mean { 2 * if subgroups > 0 { subgroups } else { lanes } } else { 0 };
        let keys = match stage {
            Stage::Whole => CACHE + 1,
            Stage::Count => 0,
            Stage::List => 1,
            Stage::Finish => 2 * CACHE + 1,
        };
        // Bins or a tile, keys of a bin, two numbers and what was found, which begins at 16 bytes.
        4 * (words + keys + 2 + 4 + scan + rest)
    }

    pub(super) fn shader(&self, stage: Stage, form: Form) -> Shader {
        let Form { lanes, subgroups } = form;
        let preamble = format!(
            "const QUERIES: u32 = {}u;\nconst LANES: u32 = {lanes}u;\nconst SUBGROUPS: u32 = {}u;\n\
             const OWN: u32 = {}u;\n",
            self.lists.queries(),
            subgroups.max(1),
            stage.own_quads(),
        );
        let (mean, seen) = (self.tail() == Tail::Mean, matches!(self.ranked, Ranked::Seen { .. }));
        let mut parts: Vec<Part> = vec![
            part!("attention/top_rows/params.wgsl"),
            part!("attention/tiles/segment.wgsl"),
            match self.map.page_rows {
                0 => part!("attention/rows_contiguous.wgsl"),
                _ => part!("attention/rows_paged.wgsl"),
            },
        ];
        parts.extend(match seen {
            false => vec![
                part!("attention/sparse/index_map.wgsl"),
                part!("attention/top_rows/of_index.wgsl"),
            ],
            true => vec![part!("attention/top_rows/of_all.wgsl")],
        });
        parts.extend([
            part!("attention/top_rows/keys.wgsl"),
            match seen && self.lists.queries() > 1 {
                true => part!("attention/top_rows/ranks_made.wgsl"),
                false => part!("attention/top_rows/ranks_given.wgsl"),
            },
            match subgroups {
                0 => part!("attention/top_rows/lanes_plain.wgsl"),
                _ => part!("attention/top_rows/lanes_subgroup.wgsl"),
            },
            part!("attention/top_rows/bins.wgsl"),
            part!("attention/top_rows/asked.wgsl"),
        ]);
        if stage != Stage::Count {
            parts.push(part!("attention/top_rows/lists.wgsl"));
            parts.push(part!("attention/top_rows/tile.wgsl"));
            parts.push(match (seen, mean) {
                (true, _) => part!("attention/top_rows/picked.wgsl"),
                (_, true) => part!("attention/top_rows/weights.wgsl"),
                (_, false) => part!("attention/top_rows/weights_none.wgsl"),
            });
            if mean {
                parts.push(match subgroups {
                    0 => part!("attention/top_rows/weights_plain.wgsl"),
                    _ => part!("attention/top_rows/weights_subgroup.wgsl"),
                });
            }
        }
        if stage != Stage::Whole {
            parts.push(part!("attention/top_rows/slices.wgsl"));
        }
        if let Stage::Whole | Stage::Finish = stage {
            parts.push(part!("attention/top_rows/cut.wgsl"));
            parts.push(part!("attention/top_rows/found.wgsl"));
            parts.push(match mean {
                true => part!("attention/top_rows/rest_mean.wgsl"),
                false => part!("attention/top_rows/rest_none.wgsl"),
            });
        }
        match stage {
            Stage::Whole => parts.push(part!("attention/top_rows/whole.wgsl")),
            Stage::Count => parts.push(part!("attention/top_rows/count.wgsl")),
            Stage::List => {
                parts.push(match mean {
                    true => part!("attention/top_rows/leave_weights.wgsl"),
                    false => part!("attention/top_rows/leave_none.wgsl"),
                });
                parts.push(part!("attention/top_rows/list.wgsl"));
            }
            Stage::Finish => {
                parts.push(match mean {
                    true => part!("attention/top_rows/gather_weights.wgsl"),
                    false => part!("attention/top_rows/gather_none.wgsl"),
                });
                parts.push(match seen {
                    true => part!("attention/top_rows/layers_picked.wgsl"),
                    false => part!("attention/top_rows/layers_lists.wgsl"),
                });
                parts.push(part!("attention/top_rows/finish.wgsl"));
            }
        }
        parts.push(part!("attention/top_rows.wgsl"));
        Shader { entry: NAME, preamble, parts, constants: Vec::new() }
    }
}
