//! Rows that go, and rows that move.

use super::{Both, HEADS, layouts, numbers, shape, step};
use crate::device::open;
use fewbytes::attention::{KeepLists, KvCache, KvElement, Layout};
use fewbytes_wgpu::Features;
use fewbytes_wgpu::ops::DeviceCache;

#[test]
fn compaction_is_as_in_host_memory() {
    let ctx = open(Features::Full);
    let lists = [vec![], vec![0, 7, 28, 29], (0..30).collect::<Vec<u32>>()];
    let none: [Vec<u32>; HEADS] = [vec![], vec![], vec![]];
    for element in KvElement::ALL {
        for layout in layouts(shape(96, element)) {
            let mut both = Both::new(&ctx, layout);
            both.append(&ctx, &numbers(1, 30, 96), &numbers(2, 30, 96));
            let whole = both.host.clone();
            for lists in [&lists, &none] {
                let keep = KeepLists::new(lists, &whole.layout().lengths()).unwrap();
                let mut evicted = Both {
                    host: both.host.compact(&keep, 3).unwrap(),
                    device: both.device.compact(&ctx, &keep, 3).unwrap(),
                    plan: None,
                };
                evicted.check(&ctx);
                // What follows has its true position, and the reserve runs out.
                evicted.append(&ctx, &numbers(3, 2, 96), &numbers(4, 2, 96));
                evicted.append(&ctx, &numbers(5, 2, 96), &numbers(6, 2, 96));
                evicted.check(&ctx);
                assert_eq!(evicted.device.layout().next_position(), 34);
            }
            // What was evicted from is still there.
            both.check(&ctx);
        }
    }
}

#[test]
fn a_full_ragged_cache_doubles_its_reserve_in_the_middle_of_a_generation() {
    let ctx = open(Features::Full);
    let shape = shape(64, KvElement::Int8);
    let mut both = Both::new(&ctx, Layout::ragged(shape, &[0, 0, 0], 4, 0).unwrap());
    let (keys, values) = (numbers(8, 50, 64), numbers(9, 50, 64));
    for (k, v) in keys.chunks(HEADS * 64).zip(values.chunks(HEADS * 64)) {
        both.append(&ctx, k, v);
    }
    // 4, 8, 16, 32, 64.
    assert_eq!(both.device.generation(), 4);
    both.check(&ctx);
    assert!(!both.device.make_room(&ctx, 14).unwrap());
    assert!(both.device.make_room(&ctx, 15).unwrap());
    // All at once, and far beyond twice the reserve.
    let mut at_once = Both::new(&ctx, Layout::ragged(shape, &[0, 0, 0], 1, 0).unwrap());
    at_once.append(&ctx, &keys, &values);
    at_once.check(&ctx);
}

#[test]
fn heads_in_groups_are_appended_to_from_one_input() {
    let ctx = open(Features::Full);
    let shape = shape(128, KvElement::F16);
    for layout in layouts(shape) {
        let mut host = KvCache::new(layout).unwrap().with_positions().unwrap();
        host.append(&numbers(1, 5, 128), &numbers(2, 5, 128)).unwrap();
        let one = DeviceCache::upload_groups(&ctx, &host, u64::MAX).unwrap();
        assert_eq!(one.len(), 1);
        // Two heads fit, three do not.
        let two = host.layout().of_heads(0..2).unwrap();
        let limit = u64::from(two.rows()) * 256;
        let mut groups = DeviceCache::upload_groups(&ctx, &host, limit).unwrap();
        let firsts: Vec<usize> = groups.iter().map(DeviceCache::first_head).collect();
        assert_eq!(firsts, [0, 2]);
        let (keys, values) = (numbers(3, 2, 128), numbers(4, 2, 128));
        host.append(&keys, &values).unwrap();
        for (group, heads) in groups.iter_mut().zip([0..2, 2..3]) {
            assert_eq!(step(&ctx, group, &mut None, &keys, &values), 5);
            let found = ctx.block_on(group.read_back(&ctx)).unwrap();
            for (at, head) in heads.enumerate() {
                assert_eq!(found.head(at).unwrap(), host.head(head).unwrap());
                assert_eq!(found.head_positions(at), host.head_positions(head));
            }
        }
    }
}

#[test]
fn a_duplicate_goes_its_own_way() {
    let ctx = open(Features::Full);
    for layout in layouts(shape(64, KvElement::Int4)) {
        let mut both = Both::new(&ctx, layout);
        both.append(&ctx, &numbers(1, 18, 64), &numbers(2, 18, 64));
        let device = both.device.duplicate(&ctx).unwrap();
        let mut other = Both { host: both.host.clone(), device, plan: None };
        both.append(&ctx, &numbers(3, 3, 64), &numbers(4, 3, 64));
        other.append(&ctx, &numbers(5, 3, 64), &numbers(6, 3, 64));
        for cache in [&both, &other] {
            let found = ctx.block_on(cache.device.read_back(&ctx)).unwrap();
            for head in 0..HEADS {
                assert_eq!(found.head(head).unwrap(), cache.host.head(head).unwrap());
            }
        }
    }
}
