//! After a refused call nothing was dispatched: the memory it would have written stays poisoned.

use crate::device::open;
use crate::record::Scene;
use crate::{Error, assert_kind, refused};
use fewbytes_wgpu::Features;
use std::sync::Arc;

#[test]
fn a_refused_call_writes_nothing_even_if_its_pass_runs() {
    let scene = Arc::new(Scene::new(open(Features::Full)));
    let ctx = &scene.ctx;
    for wrong in scene.wrongs(&open(Features::Full)) {
        // The caller goes on regardless and submits what there is.
        let mut encoder = ctx.device().create_command_encoder(&Default::default());
        wrong.is_refused(&mut encoder.begin_compute_pass(&Default::default()));
        ctx.queue().submit([encoder.finish()]);
        let memory = ctx.block_on(ctx.read::<u8>(&scene.memory())).unwrap();
        assert!(memory.iter().all(|&byte| byte == 0xff), "{} wrote", wrong.what);
    }
    // The proof has teeth: called rightly, the same plans do write there.
    ctx.submit(|pass| scene.record_rightly(pass)).unwrap();
    let memory = ctx.block_on(ctx.read::<u8>(&scene.memory())).unwrap();
    assert!(memory[..24].iter().any(|&byte| byte != 0xff));
    assert!(memory[2048..2048 + 1536].iter().any(|&byte| byte != 0xff));
}

#[test]
fn a_submission_that_fails_midway_runs_nothing() {
    let scene = Arc::new(Scene::new(open(Features::Full)));
    let wrongs = scene.wrongs(&open(Features::Full));
    let result = scene.ctx.submit(|pass| {
        scene.record_rightly(pass)?;
        wrongs[0].is_refused(pass);
        Err(Error::unsupported("the rest", "the test stops here"))
    });
    assert_kind!(refused(result, &["stops here"]), Error::Unsupported { .. });
    let ctx = &scene.ctx;
    let memory = ctx.block_on(ctx.read::<u8>(&scene.memory())).unwrap();
    assert!(memory.iter().all(|&byte| byte == 0xff));
}
