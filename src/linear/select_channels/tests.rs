//! Refusals.

use super::*;

#[test]
fn bounds_that_leave_a_channel_without_bucket_are_refused() {
    let good: [f32; 32] = std::array::from_fn(|i| (31 - i) as f32);
    let with = |at: usize, bound: f32| {
        let mut bounds = good;
        bounds[at] = bound;
        let method = Method::Bucket32(bounds);
        let budget = Budget::new(2048, 8).unwrap();
        let spec = SelectChannels { method, ..SelectChannels::new(budget) };
        spec.launches(&Caps::webgpu(), &Knobs::DEFAULT)
    };
    assert_eq!(with(0, 31.0).unwrap().len(), 1);
    assert_eq!(with(31, -0.0).unwrap().len(), 1);
    for (at, bound) in
        [(0, f32::INFINITY), (3, f32::NAN), (5, 28.0), (31, 0.5), (31, -1.0), (0, f32::NAN)]
    {
        assert!(matches!(with(at, bound), Err(Error::Value { .. })), "{at} {bound}");
    }
}
