//! Where the bits of a weight's code lie. The format is described in [`super::bitplane`].

/// Weights of a full chunk.
const CHUNK: usize = 1024;

/// Position `p(i)` of weight `i` of a word before the skew.
const POSITION: [u32; 32] = positions();

const fn positions() -> [u32; 32] {
    let mut p = [0; 32];
    let mut t = 0;
    while t < 8 {
        p[2 * t] = 4 * t as u32 + 3;
        p[2 * t + 1] = 4 * t as u32 + 1;
        p[16 + 2 * t] = 4 * t as u32 + 2;
        p[17 + 2 * t] = 4 * t as u32;
        t += 1;
    }
    p
}

/// Words of one row in one plane.
pub(crate) fn words_for(cols: usize) -> usize {
    cols.div_ceil(32)
}

/// The column of weight `i` of word `word` in a row of `words` words; at least `cols` where the
/// row is padded.
pub(crate) fn column(word: usize, i: usize, words: usize) -> usize {
    let (chunk, t) = (word / 32, word % 32);
    let in_chunk = (words - chunk * 32).min(32);
    chunk * CHUNK + (i / 8) * 8 * in_chunk + 8 * t + i % 8
}

/// Bit of weight `i` in plane `plane`, our layout.
fn skewed_bit(i: usize, plane: usize) -> u32 {
    (POSITION[i] + 32 - plane as u32) % 32
}

/// Moves the bits of one word of plane `plane` from the published layout to ours.
pub(crate) fn skew(word: u32, plane: usize) -> u32 {
    (0..32).fold(0, |out, i| out | ((word >> (31 - i)) & 1) << skewed_bit(i, plane))
}

/// Moves the bits of one word of plane `plane` from our layout to the published one.
pub(crate) fn unskew(word: u32, plane: usize) -> u32 {
    (0..32).fold(0, |out, i| out | ((word >> skewed_bit(i, plane)) & 1) << (31 - i))
}

/// Packs one row of codes of `bits` bits. `put(plane, word, value)` receives every word.
pub(crate) fn pack_row(codes: &[u8], bits: usize, mut put: impl FnMut(usize, usize, u32)) {
    let words = words_for(codes.len());
    for word in 0..words {
        let mut planes = [0u32; 8];
        for (i, position) in POSITION.iter().enumerate() {
            let code = u32::from(codes.get(column(word, i, words)).copied().unwrap_or(0));
            // Unskewed here, rotated once a plane below: half the work of placing each bit.
            for (plane, out) in planes.iter_mut().enumerate().take(bits) {
                *out |= ((code >> (bits - 1 - plane)) & 1) << position;
            }
        }
        for (plane, out) in planes.iter().enumerate().take(bits) {
            put(plane, word, out.rotate_right(plane as u32));
        }
    }
}

/// The first `bits` bits of every code of a row. `get(plane, word)` supplies the words.
pub(crate) fn unpack_row(codes: &mut [u8], bits: usize, get: impl Fn(usize, usize) -> u32) {
    let cols = codes.len();
    let words = words_for(cols);
    for word in 0..words {
        let mut planes = [0u32; 8];
        for (plane, out) in planes.iter_mut().enumerate().take(bits) {
            *out = get(plane, word).rotate_left(plane as u32);
        }
        for (i, position) in POSITION.iter().enumerate() {
            if let Some(code) = codes.get_mut(column(word, i, words)) {
                *code = planes
                    .iter()
                    .take(bits)
                    .fold(0, |code, plane| code << 1 | ((plane >> position) & 1) as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: [u32; 8] = [
        0x0E1C_78F1,
        0x366C_9932,
        0x52B5_2A56,
        0x78E3_871C,
        0x9B64_9B64,
        0x2D2D_2D2D,
        0x9999_9999,
        0xAAAA_AAAA,
    ];
    const OURS: [u32; 8] = [
        0x1A75_8E51,
        0x2569_4B5A,
        0x98EE_7118,
        0xD4B3_4B34,
        0xC03C_3FC3,
        0x01FE_01FE,
        0xF0F0_F0F0,
        0x9999_9999,
    ];

    fn golden_codes() -> Vec<u8> {
        (0..32u32).map(|i| ((37 * i + 11) % 256) as u8).collect()
    }

    /// The published layout straight from its definition.
    fn pack_reference(codes: &[u8], bits: usize) -> Vec<Vec<u32>> {
        let words = codes.len() / 32;
        let mut planes = vec![vec![0; words]; bits];
        for (col, &code) in codes.iter().enumerate() {
            let chunk = col / 1024;
            let t_count = (words - chunk * 32).min(32);
            let within = col % 1024;
            let (r, rest) = (within / (8 * t_count), within % (8 * t_count));
            let (t, s) = (rest / 8, rest % 8);
            for (plane, out) in planes.iter_mut().enumerate() {
                let bit = u32::from(code >> (bits - 1 - plane) & 1);
                out[chunk * 32 + t] |= bit << (31 - (8 * r + s));
            }
        }
        planes
    }

    #[test]
    fn the_golden_word_is_packed_as_the_format_says() {
        let mut packed = [0; 8];
        pack_row(&golden_codes(), 8, |plane, _, word| packed[plane] = word);
        assert_eq!(packed, OURS);
        assert_eq!(pack_reference(&golden_codes(), 8).concat(), REFERENCE);
        for plane in 0..8 {
            assert_eq!(skew(REFERENCE[plane], plane), OURS[plane]);
            assert_eq!(unskew(OURS[plane], plane), REFERENCE[plane]);
        }
    }

    #[test]
    fn four_bit_assembly_of_the_golden_word_matches_the_format() {
        let sel = |m: u32, a: u32, b: u32| (a & m) | (b & !m);
        let [q0, q1, q2, q3, ..] = OURS;
        let (a0, a1) = (sel(0xAAAA_AAAA, q0, q1), sel(0x5555_5555, q0, q1));
        let (b0, b1) = (sel(0xAAAA_AAAA, q2, q3), sel(0x5555_5555, q2, q3));
        let x = [
            sel(0xCCCC_CCCC, a0, b0),
            sel(0x6666_6666, a1, b1).rotate_left(1),
            sel(0x3333_3333, a0, b0).rotate_left(2),
            sel(0x9999_9999, a1, b1).rotate_left(3),
        ];
        assert_eq!(x, [0x1C73_E950, 0x61C8_3EA5, 0x3EA5_0C73, 0x83FA_51C8]);
    }

    #[test]
    fn packing_and_unpacking_are_inverse_and_agree_with_the_published_layout() {
        for cols in [1, 31, 32, 33, 64, 992, 1000, 1024, 1056, 4096, 11008] {
            for bits in 2..=8 {
                let codes: Vec<u8> = (0..cols as u32)
                    .map(|i| (i.wrapping_mul(0x9E37_79B9) >> (32 - bits)) as u8)
                    .collect();
                let words = words_for(cols);
                let mut planes = vec![vec![0; words]; bits];
                pack_row(&codes, bits, |plane, word, value| planes[plane][word] = value);
                if cols % 32 == 0 {
                    let reference = pack_reference(&codes, bits);
                    for plane in 0..bits {
                        for word in 0..words {
                            let expected = planes[plane][word];
                            assert_eq!(skew(reference[plane][word], plane), expected);
                        }
                    }
                }
                for fewer in 2..=bits {
                    let mut unpacked = vec![0; cols];
                    unpack_row(&mut unpacked, fewer, |plane, word| planes[plane][word]);
                    let prefix: Vec<u8> = codes.iter().map(|c| c >> (bits - fewer)).collect();
                    assert_eq!(unpacked, prefix, "cols {cols} bits {bits} -> {fewer}");
                }
            }
        }
    }
}
