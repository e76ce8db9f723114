//! Views, reads and writes.

use crate::{assert_kind, noop, noops, refused};
use fewbytes::Error;
use fewbytes_wgpu::{Context, Element, View};
use std::ops::Range;
use wgpu::BufferUsages;

fn buffer(ctx: &Context, size: u64, usage: BufferUsages) -> wgpu::Buffer {
    let label = None;
    let mapped_at_creation = false;
    ctx.device().create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation })
}

#[test]
fn a_view_that_is_not_within_its_buffer_is_refused() {
    let ctx = noop();
    let buffer = buffer(&ctx, 64, BufferUsages::STORAGE);
    for offset in [1, 2, 3, 5, u64::MAX] {
        let error = refused(View::new(&buffer, offset, 0, Element::U8), &["multiple of 4"]);
        assert_kind!(error, Error::Alignment { multiple: 4, .. });
    }
    for (offset, len, element) in [
        (0, 17, Element::F32),
        (0, 33, Element::F16),
        (0, 65, Element::U8),
        (64, 1, Element::U8),
        (4, 16, Element::U32),
        (68, 0, Element::U8),
        (u64::MAX - 3, 4, Element::U8),
        (0, u64::MAX, Element::U8),
        (0, u64::MAX / 4 + 2, Element::F32),
    ] {
        let error = refused(View::new(&buffer, offset, len, element), &["within the buffer's 64"]);
        assert_kind!(error, Error::Shape { .. });
    }
    for (offset, len, element) in
        [(0, 16, Element::F32), (64, 0, Element::F16), (4, 57, Element::U8)]
    {
        assert_eq!(View::new(&buffer, offset, len, element).unwrap().len(), len);
    }
}

#[test]
fn a_slice_that_is_not_within_its_view_is_refused() {
    let ctx = noop();
    let buffer = buffer(&ctx, 64, BufferUsages::STORAGE);
    // 8 halves in the middle of the buffer: there are bytes before and behind.
    let view = View::new(&buffer, 16, 8, Element::F16).unwrap();
    for elements in [0..9, 8..9, Range { start: 3, end: 2 }, 0..usize::MAX] {
        let error = refused(view.slice(elements), &["elements of a slice", "within 0..8"]);
        assert_kind!(error, Error::Shape { .. });
    }
    let error = refused(view.slice(1..3), &["offset of a view = 18"]);
    assert_kind!(error, Error::Alignment { multiple: 4, .. });
    assert_eq!(view.slice(0..8).unwrap(), view);
    let part = view.slice(2..5).unwrap();
    assert_eq!((part.offset(), part.len(), part.element()), (20, 3, Element::F16));
    assert!(view.slice(8..8).unwrap().is_empty());
}

#[test]
fn a_buffer_that_is_too_large_is_refused_before_it_is_asked_for() {
    let limits = wgpu::Limits::default();
    let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
    let (device, queue) = wgpu::Device::noop(&descriptor);
    let ctx = Context::new(&device, &queue).unwrap();
    for len in [(256 << 20) / 4 + 1, usize::MAX] {
        let error = refused(ctx.alloc::<f32>(len), &["268435456"]);
        assert_kind!(error, Error::BindingTooLarge { limit: 268_435_456, .. });
    }
}

#[test]
fn reads_and_writes_of_another_type_length_or_usage_are_refused() {
    let ctx = noop();
    let view = ctx.upload(&[1.0f32, 2.0, 3.0]).unwrap();
    let error = refused(ctx.block_on(ctx.read::<u32>(&view)), &["U32", "F32"]);
    assert_kind!(error, Error::Shape { .. });
    refused(ctx.block_on(ctx.read::<u8>(&view)), &["U8", "F32"]);
    assert_kind!(refused(ctx.write(&view, &[1u32, 2, 3]), &["U32", "F32"]), Error::Shape { .. });
    for wrong in [&[1.0f32; 2][..], &[1.0; 4]] {
        let error = refused(ctx.write(&view, wrong), &["length", "found 3"]);
        assert_kind!(error, Error::Shape { .. });
    }
    let storage = buffer(&ctx, 16, BufferUsages::STORAGE);
    let view = View::new(&storage, 0, 4, Element::F32).unwrap();
    let error = refused(ctx.block_on(ctx.read::<f32>(&view)), &["COPY_SRC"]);
    assert_kind!(error, Error::Readback { .. });
    let error = refused(ctx.write(&view, &[0.0f32; 4]), &["COPY_DST"]);
    assert_kind!(error, Error::Validation { .. });
}

#[test]
fn reads_and_writes_of_another_devices_buffer_are_refused() {
    let [ours, theirs] = noops();
    let view = theirs.upload(&[1.0f32; 4]).unwrap();
    let error = refused(ours.block_on(ours.read::<f32>(&view)), &["staging"]);
    assert_kind!(error, Error::Validation { .. });
    let error = refused(ours.write(&view, &[2.0f32; 4]), &["a write"]);
    assert_kind!(error, Error::Validation { .. });
    // The one that owns it is none the worse.
    theirs.block_on(theirs.read::<f32>(&view)).unwrap();
}

#[test]
fn a_destroyed_buffer_is_refused() {
    let ctx = noop();
    let view = ctx.upload(&[1.0f32; 4]).unwrap();
    view.buffer().destroy();
    let error = refused(ctx.block_on(ctx.read::<f32>(&view)), &["destroyed"]);
    assert_kind!(error, Error::Validation { .. });
    let error = refused(ctx.write(&view, &[2.0f32; 4]), &["destroyed"]);
    assert_kind!(error, Error::Validation { .. });
}

#[test]
fn nothing_is_something_that_can_be_read() {
    let ctx = noop();
    let view = ctx.upload::<f32>(&[]).unwrap();
    assert!(view.is_empty());
    assert!(ctx.block_on(ctx.read::<f32>(&view)).unwrap().is_empty());
}
