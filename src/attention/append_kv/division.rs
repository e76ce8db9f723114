//! The shader's rounding of quotients, `shaders/attention/append/scaled.wgsl`, with a division that is off
//! by up to four units in the last place: more than WGSL lets devices be.

use half::f16;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A quotient, so many units in the last place off.
fn divided(a: f32, b: f32, off: i32) -> f32 {
    let exact = a / b;
    if exact > 1e-30 { f32::from_bits(exact.to_bits().wrapping_add_signed(off)) } else { exact }
}

fn value(half: u16) -> f32 {
    // What follows the largest one is 65536 in the shader.
    if half == 0x7c00 { 65536.0 } else { f16::from_bits(half).to_f32() }
}

fn half_quotient(a: f32, divisor: f32, off: i32) -> u16 {
    let guess = f16::from_f32(divided(a, divisor, off).min(65504.0)).to_bits();
    let odd = guess % 2 == 1;
    let above = divisor * (0.5 * (value(guess) + value(guess + 1)));
    if guess < 0x7bff && (a > above || (a == above && odd)) {
        return guess + 1;
    }
    if guess > 0 {
        let below = divisor * (0.5 * (value(guess) + value(guess - 1)));
        if a < below || (a == below && odd) {
            return guess - 1;
        }
    }
    guess
}

fn whole_quotient(a: f32, scale: f32, top: f32, off: i32) -> u32 {
    let held = a.min(top * scale);
    let guess = divided(held, scale, off).floor().clamp(0.0, top);
    let (whole, middle) = (guess as u32, scale * (guess + 0.5));
    if held > middle || (held == middle && whole % 2 == 1) { whole + 1 } else { whole }
}

/// What exact division in f32 gives.
fn exact_half(a: f32, divisor: f32) -> u16 {
    f16::from_f32((a / divisor).min(65504.0)).to_bits()
}

fn exact_whole(a: f32, scale: f32, top: f32) -> u32 {
    (a / scale).round_ties_even().min(top) as u32
}

#[test]
fn quotients_are_exact_however_a_device_divides() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let near = |x: f32, off: i32| f32::from_bits(x.to_bits().wrapping_add_signed(off));
    for top in [127.0f32, 15.0] {
        // Every border between two f16, and the numbers beside it.
        for half in 0..0x7bff {
            let border = top * (0.5 * (value(half) + value(half + 1)));
            for beside in -2..=2 {
                let (a, off) = (near(border, beside), rng.random_range(-4..=4));
                assert_eq!(half_quotient(a, top, off), exact_half(a, top), "{a:e} / {top}, {off}");
            }
        }
        for _ in 0..200_000 {
            let (off, beside) = (rng.random_range(-4..=4), rng.random_range(-2..=2));
            let scale = value(rng.random_range(1..0x7c00));
            // A code or half a code, or beside it.
            let halves = rng.random_range(1..=2 * top as u32 + 2);
            let tie = near(scale * (halves as f32 * 0.5), beside);
            for a in [tie, scale * top * rng.random_range(0.0..1.3f32)] {
                let (found, exact) =
                    (whole_quotient(a, scale, top, off), exact_whole(a, scale, top));
                assert_eq!(found, exact, "{a:e} / {scale:e}, {off}");
            }
            let a = f32::exp(rng.random_range(-40.0..80.0f32));
            assert_eq!(half_quotient(a, top, off), exact_half(a, top), "{a:e} / {top}, {off}");
        }
    }
}
