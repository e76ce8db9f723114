//! What giving back the residuals of selected channels costs.

use crate::rows::{Extent, Row};
use crate::work::Work;
use anyhow::Result;
use fewbytes::linear::compensate::Source;
use fewbytes::linear::residual::{ResidualElement, ResidualLayout};
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::Method;
use fewbytes::linear::{Activation, Add, Compensate, SelectChannels};

const SHAPES: [(usize, usize); 2] = [(4096, 4096), (14336, 4096)];
/// Inputs of layers that channels are selected of.
const COLS: [usize; 2] = [4096, 14336];
/// Small enough for a CPU that plays a GPU.
const SOFTWARE: (usize, usize) = (256, 2048);
/// Channels taken of each 1024.
const K_CHUNKS: [usize; 2] = [16, 64];

/// Selections, additions, and compensations by workgroups that select for themselves: what buffers are filled
/// with is no list, but activations as good as any.
pub(crate) fn rows(extent: Extent) -> Result<Vec<Row>> {
    let (shapes, cols) = match (extent.software, extent.quick) {
        (true, _) => (vec![SOFTWARE], vec![SOFTWARE.1]),
        (false, true) => (SHAPES[..1].to_vec(), COLS[..1].to_vec()),
        (false, false) => (SHAPES.to_vec(), COLS.to_vec()),
    };
    let activation = Activation::F16;
    let mut all = Vec::new();
    for k_chunk in K_CHUNKS {
        for &cols in &cols {
            let budget = Budget::new(cols, k_chunk)?;
            let spec = SelectChannels { activation, ..SelectChannels::new(budget) };
            let setting = format!("{k_chunk} of 1024, {}", spec.setting());
            all.push(Row::new(Work::Select(spec), (budget.k(), cols), setting));
        }
        for &(rows, cols) in &shapes {
            let layout = ResidualLayout::new(rows, cols, ResidualElement::Int4)?;
            let source = Source::Own { method: Method::ChunkRadix, weighted: false };
            let spec = Compensate::new(layout, Budget::new(cols, k_chunk)?);
            let work = Work::Compensate(Compensate { activation, source, ..spec });
            let setting = format!("{k_chunk} of 1024, int4, f16 own");
            all.push(Row::new(work, (rows, cols), setting));
        }
    }
    for &(rows, cols) in &shapes {
        let work = Work::Add(Add { len: rows, activation });
        all.push(Row::new(work, (rows, cols), format!("{} and f32", activation.name())));
    }
    Ok(all)
}
