//! The case tables of `stream_read` and `stream_copy`: one shape of case for both.

use super::bitplane::{Squeeze, generator};
use super::{Case, Expected, Output, Proof, Tensor};
use crate::Result;
use crate::launch::{Caps, Knobs, Spec as _};
use crate::stream::{DST, SRC, StreamCopy, StreamRead, copy, read};
use rand_chacha::rand_core::Rng;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Copy,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamCase {
    kind: Kind,
    quads: usize,
    lanes: u32,
    workgroup: Option<u32>,
    squeeze: Squeeze,
}

pub(super) fn cases() -> Vec<StreamCase> {
    let mut all = Vec::new();
    for kind in [Kind::Read, Kind::Copy] {
        let case = |quads, lanes| StreamCase {
            kind,
            quads,
            lanes,
            workgroup: None,
            squeeze: Squeeze::None,
        };
        // One of everything, lanes without work, every remainder of the four loads, lanes that are
        // no multiple of a workgroup.
        all.extend([case(1, 1), case(1, 300), case(5, 1), case(257, 256)]);
        all.extend((12..=17).map(|quads| case(quads, 3)));
        all.extend([case(4 * 1000, 1000), case(4 * 1000 - 1, 1000), case(100_003, 777)]);
        for workgroup in [8, 32, 64, 128] {
            all.push(StreamCase { workgroup: Some(workgroup), ..case(9001, 601) });
        }
        all.push(StreamCase { squeeze: Squeeze::Groups(6), ..case(20_011, 5003) });
        // 66,251 workgroups, more than one dimension holds.
        all.push(StreamCase { workgroup: Some(8), ..case(530_009, 530_003) });
    }
    all
}

impl Case for StreamCase {
    fn kernel(&self) -> &'static str {
        match self.kind {
            Kind::Read => read::NAME,
            Kind::Copy => copy::NAME,
        }
    }

    fn name(&self) -> String {
        let mut name = format!("{} quads by {}", self.quads, self.lanes);
        if let Some(workgroup) = self.workgroup {
            name += &format!(" in {workgroup}s");
        }
        if self.squeeze != Squeeze::None {
            name += &format!(" {:?}", self.squeeze);
        }
        name
    }

    fn variants(&self, _: &Caps) -> Vec<(&'static str, Knobs)> {
        let workgroup = self.workgroup;
        vec![("baseline", Knobs { workgroup, ..Knobs::baseline() })]
    }

    fn build(&self, caps: &Caps, knobs: &Knobs) -> Result<Proof> {
        let caps = self.squeeze.apply(caps);
        let (words, lanes) = (4 * self.quads, self.lanes);
        let mut src = vec![0u8; 4 * words];
        generator(&self.name()).fill_bytes(&mut src);
        let numbers: Vec<u32> = bytemuck::pod_collect_to_vec(&src);
        let (launches, expected) = match self.kind {
            Kind::Read => {
                let found = read::reference(&numbers, lanes)?;
                let spec = StreamRead { words, lanes };
                (spec.launches(&caps, knobs)?, bytemuck::cast_slice(&found).to_vec())
            }
            Kind::Copy => (StreamCopy { words, lanes }.launches(&caps, knobs)?, src.clone()),
        };
        // What follows the words must not be read.
        src.resize(src.len() + 64, super::POISON);
        let tensors = vec![Tensor::input(SRC, src), Tensor::output(DST, expected.len())];
        let output = Output { binding: DST, expected: Expected::Bytes(expected) };
        Ok(Proof { launches, tensors, outputs: vec![output] })
    }
}
