//! Kernels that read pages of the host's in place give what they give with a copy, and pages are
//! given back once, when nothing needs them.
#![allow(unsafe_code)]

use fewbytes::linear::compensate::Source;
use fewbytes::linear::residual::{ResidualElement, ResidualLayout};
use fewbytes::linear::select::Budget;
use fewbytes::linear::select_channels::Method;
use fewbytes::linear::{Activation, Compensate};
use fewbytes::stream::StreamRead;
use fewbytes::{Error, Knobs};
use fewbytes_wgpu::{Context, Features, Memory, Scalar, View, adapters, ops};
use half::f16;
use memmap2::{MmapMut, MmapOptions};
use std::io::Write as _;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs a test on every adapter whose devices can import pages, and where one cannot, makes sure
/// that it says so.
fn each(test: impl Fn(&Context, usize)) {
    let found = pollster::block_on(adapters());
    assert!(!found.is_empty(), "no adapter: run `cargo xtask test`, which installs one");
    for adapter in &found {
        let ctx = pollster::block_on(Context::open_on(adapter, Features::Full)).unwrap();
        // A device of the caller's that has the extension is as good.
        let theirs = Context::new(ctx.device(), ctx.queue()).unwrap();
        assert_eq!(theirs.page_alignment(), ctx.page_alignment());
        match ctx.page_alignment() {
            Some(alignment) => test(&ctx, usize::try_from(alignment).unwrap()),
            None => {
                let error = ctx.pages::<u32>(1).unwrap_err();
                eprintln!("not run on {}: {error}", ctx.describe());
                assert!(matches!(error, Error::Unsupported { .. }), "{error}");
                assert!(!ctx.describe().contains("llvmpipe"), "lavapipe can: {error}");
            }
        }
    }
}

fn noise(words: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let word = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state ^ state >> 15
    };
    (0..words).map(word).collect()
}

/// Pages of the test's, as a caller maps them.
fn mapped(bytes: usize, alignment: usize) -> (MmapMut, NonNull<u8>) {
    let mut map = MmapMut::map_anon(bytes + alignment).unwrap();
    let first = map.as_ptr().addr().next_multiple_of(alignment) - map.as_ptr().addr();
    let start = NonNull::from(&mut map[first..]).cast();
    (map, start)
}

fn span<T>(start: NonNull<u8>, len: usize) -> NonNull<[T]> {
    NonNull::slice_from_raw_parts(start.cast(), len)
}

/// Counts how often it is dropped, with what it keeps.
struct Owner<T>(Arc<AtomicUsize>, T);

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn wait(ctx: &Context) {
    ctx.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
}

/// What streaming a view gives.
fn streamed(ctx: &Context, view: &View) -> Vec<u32> {
    let spec = StreamRead::new(view.len() as usize);
    let plan = ops::stream_read::plan(ctx, &spec, &Knobs::DEFAULT).unwrap();
    let dst = ctx.alloc::<u32>(spec.lanes as usize).unwrap();
    let bound = plan.bind(view, &dst).unwrap();
    ctx.submit(|pass| bound.record(pass)).unwrap();
    ctx.block_on(ctx.read::<u32>(&dst)).unwrap()
}

fn filled<T: Scalar + Send + Sync>(ctx: &Context, elements: &[T]) -> View {
    let mut pages = ctx.pages::<T>(elements.len()).unwrap();
    pages.copy_from_slice(elements);
    ctx.adopt(pages).unwrap()
}

#[test]
fn pages_are_read_as_a_copy_is() {
    each(|ctx, _| {
        for words in [4, 4096, 1 << 20] {
            let words = noise(words, 1);
            let (copy, own) = (ctx.upload(&words).unwrap(), filled(ctx, &words));
            let name = ctx.describe();
            assert_eq!(ctx.block_on(ctx.read::<u32>(&own)).unwrap(), words, "{name}");
            let read = streamed(ctx, &own);
            assert!(read.iter().any(|word| *word != 0), "{name}");
            assert_eq!(read, streamed(ctx, &copy), "{name}, {} words", words.len());
            // What was given away is a buffer like any other.
            let other = noise(words.len(), 2);
            ctx.write(&own, &other).unwrap();
            assert_eq!(ctx.block_on(ctx.read::<u32>(&own)).unwrap(), other, "{name}");
        }
    });
}

#[test]
fn residuals_in_pages_compensate_as_copies_do() {
    each(|ctx, alignment| {
        let layout = ResidualLayout::new(1500, 3000, ResidualElement::Int4).unwrap();
        let words = noise(layout.words(), 3);
        let scales: Vec<f16> =
            (0..layout.padded_rows()).map(|row| f16::from_f32((row % 7 + 1) as f32)).collect();
        let x: Vec<f32> = noise(3000, 4).iter().map(|n| (n % 2001) as f32 - 1000.0).collect();
        let x = ctx.upload(&x).unwrap();
        let spec = Compensate {
            activation: Activation::F32,
            source: Source::Own { method: Method::ChunkRadix, weighted: false },
            ..Compensate::new(layout, Budget::new(3000, 64).unwrap())
        };
        let plan = ops::compensate::plan(ctx, &spec, &Knobs::DEFAULT).unwrap();
        let compensated = |words: View, memory| {
            let scales = Some(ctx.upload(&scales).unwrap());
            let residual = ops::ResidualWeights::from_views(layout, memory, words, scales).unwrap();
            let y = ctx.alloc::<f32>(spec.y_len()).unwrap();
            let bound = plan.bind(&residual, None, &x, &y).unwrap();
            ctx.submit(|pass| bound.record(pass)).unwrap();
            ctx.block_on(ctx.read::<f32>(&y)).unwrap()
        };
        let expected = compensated(ctx.upload(&words).unwrap(), Memory::Device);
        assert!(expected.iter().any(|y| *y != 0.0));
        let own = compensated(filled(ctx, &words), Memory::Host);
        assert_eq!(own, expected, "{}", ctx.describe());

        // A file, as a model's residuals are kept in: it ends amid a page.
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytemuck::cast_slice(&words)).unwrap();
        // SAFETY: the file has no name, so nobody else alters it.
        let mut map = unsafe { MmapOptions::new().map_copy(&file) }.unwrap();
        if !map.as_ptr().addr().is_multiple_of(alignment) {
            eprintln!("no file on {}: {alignment} is more than a page", ctx.describe());
            return;
        }
        let bytes = map.len().next_multiple_of(alignment);
        assert_ne!(bytes, map.len());
        let pages = span::<u32>(NonNull::new(map.as_mut_ptr()).unwrap(), bytes / 4);
        // SAFETY: the owner is the map, private, readable and writable to the end of its last page,
        // and nobody writes to it.
        let whole = unsafe { ctx.import_pages(pages, map) }.unwrap();
        let lent = compensated(whole.slice(0..words.len()).unwrap(), Memory::Host);
        assert_eq!(lent, expected, "{}", ctx.describe());
    });
}

#[test]
fn what_the_host_writes_between_submissions_is_seen() {
    each(|ctx, alignment| {
        let len = alignment.max(1 << 16) / 4;
        let (map, start) = mapped(4 * len, alignment);
        // SAFETY: the owner is the map; pages are written below when nothing uses them.
        let view = unsafe { ctx.import_pages(span::<u32>(start, len), map) }.unwrap();
        for seed in 5..9 {
            let words = noise(len, seed);
            // SAFETY: the view keeps the map, and the device is idle: what `streamed` submitted, it
            // waited for.
            unsafe { start.cast::<u32>().copy_from(NonNull::from(&words[..]).cast(), len) };
            let copy = ctx.upload(&words).unwrap();
            assert_eq!(streamed(ctx, &view), streamed(ctx, &copy), "{} {seed}", ctx.describe());
        }
    });
}

#[test]
fn pages_that_cannot_be_are_refused_and_given_back() {
    each(|ctx, alignment| {
        let (_map, start) = mapped(4 * alignment, alignment);
        let drops = Arc::new(AtomicUsize::new(0));
        let refused = |start, len| {
            // SAFETY: every span is refused before anything looks at its pages.
            let view =
                unsafe { ctx.import_pages(span::<u8>(start, len), Owner(Arc::clone(&drops), ())) };
            view.unwrap_err()
        };
        // SAFETY: within the map.
        let amid = unsafe { start.add(4) };
        for (start, len, what) in
            [(amid, alignment, "address of pages"), (start, alignment + 4, "bytes of pages")]
        {
            let error = refused(start, len);
            assert!(matches!(error, Error::Alignment { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        assert!(matches!(refused(start, 0), Error::Range { .. }));
        let most = usize::try_from(ctx.caps().max_buffer_bytes).unwrap();
        let long = most.next_multiple_of(alignment) + alignment;
        let error = refused(start, long);
        assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
        assert_eq!(drops.load(Ordering::SeqCst), 4, "an error gives the pages back");
        let error = ctx.pages::<u8>(long).unwrap_err();
        assert!(matches!(error, Error::BindingTooLarge { .. }), "{error}");
    });
}

#[test]
fn a_device_without_the_extension_says_so() {
    for adapter in pollster::block_on(adapters()) {
        let ctx = pollster::block_on(Context::open_on(&adapter, Features::Baseline)).unwrap();
        assert_eq!(ctx.page_alignment(), None);
        let (map, start) = mapped(1 << 16, 1 << 16);
        let drops = Arc::new(AtomicUsize::new(0));
        let owner = Owner(Arc::clone(&drops), map);
        // SAFETY: the owner is the map, and nobody else uses it.
        let error = unsafe { ctx.import_pages(span::<u8>(start, 1 << 16), owner) }.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("Placement::HostOrDevice"), "{error}");
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
}

/// A view of the test's pages, and how often their owner was dropped.
fn counted(ctx: &Context, alignment: usize, words: &[u32]) -> (View, Arc<AtomicUsize>) {
    let bytes = (4 * words.len()).next_multiple_of(alignment);
    let (map, start) = mapped(bytes, alignment);
    // SAFETY: the map is as long, and not in use yet.
    unsafe { start.cast::<u32>().copy_from(NonNull::from(words).cast(), words.len()) };
    let drops = Arc::new(AtomicUsize::new(0));
    let owner = Owner(Arc::clone(&drops), map);
    // SAFETY: the owner keeps the map, and nobody else uses it.
    let view = unsafe { ctx.import_pages(span::<u32>(start, bytes / 4), owner) }.unwrap();
    (view.slice(0..words.len()).unwrap(), drops)
}

#[test]
fn pages_outlive_the_work_that_reads_them() {
    each(|ctx, alignment| {
        let words = noise(1 << 20, 9);
        let expected = streamed(ctx, &ctx.upload(&words).unwrap());
        let spec = StreamRead::new(words.len());
        let plan = ops::stream_read::plan(ctx, &spec, &Knobs::DEFAULT).unwrap();
        let dst = ctx.alloc::<u32>(spec.lanes as usize).unwrap();
        let (view, drops) = counted(ctx, alignment, &words);
        let bound = plan.bind(&view, &dst).unwrap();
        // What is bound keeps the buffer, and the buffer the pages.
        drop(view);
        wait(ctx);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        ctx.submit(|pass| bound.record(pass)).unwrap();
        drop(bound);
        assert_eq!(ctx.block_on(ctx.read::<u32>(&dst)).unwrap(), expected, "{}", ctx.describe());
        wait(ctx);
        assert_eq!(drops.load(Ordering::SeqCst), 1, "{}", ctx.describe());
    });
}

#[test]
fn pages_are_given_back_once_in_whatever_order() {
    each(|ctx, alignment| {
        let words = noise(1 << 12, 10);
        // The owner says that the buffer is to go, and work on it is still queued.
        let (view, drops) = counted(ctx, alignment, &words);
        let dst = ctx.alloc::<u32>(words.len()).unwrap();
        let mut encoder = ctx.device().create_command_encoder(&Default::default());
        let bytes = view.bytes();
        encoder.copy_buffer_to_buffer(view.buffer(), 0, dst.buffer(), 0, bytes);
        ctx.queue().submit([encoder.finish()]);
        view.buffer().destroy();
        wait(ctx);
        assert_eq!(drops.load(Ordering::SeqCst), 1, "{}", ctx.describe());
        drop(view);
        wait(ctx);
        assert_eq!(drops.load(Ordering::SeqCst), 1, "{}", ctx.describe());
        assert_eq!(ctx.block_on(ctx.read::<u32>(&dst)).unwrap(), words, "{}", ctx.describe());
    });
    // The context goes first, with the device that it opened.
    for adapter in pollster::block_on(adapters()) {
        let ctx = pollster::block_on(Context::open_on(&adapter, Features::Full)).unwrap();
        let Some(alignment) = ctx.page_alignment() else { continue };
        let words = noise(1 << 12, 11);
        let (view, drops) = counted(&ctx, usize::try_from(alignment).unwrap(), &words);
        let name = ctx.describe();
        ctx.submit(|_| Ok(())).unwrap();
        drop(ctx);
        assert_eq!(drops.load(Ordering::SeqCst), 0, "{name}");
        drop(view);
        assert_eq!(drops.load(Ordering::SeqCst), 1, "{name}");
    }
}
