// Codes times a scale a row, plus a zero a row, are the numbers. Siblings: codec_none.wgsl,
// codec_scale.wgsl.

// The dot product with the numbers, from that with the codes and the sum of the queries.
fn dot_of(dot: Rows, q_sum: Rows, codec: Codec) -> Rows {
    return fma(Rows(codec.x), dot, codec.y * q_sum);
}

// What codes are weighted with.
fn code_weight(weight: Rows, codec: Codec) -> Rows {
    return codec.x * weight;
}

// What all numbers of a row add besides their codes.
fn zero_weight(weight: Rows, codec: Codec) -> Rows {
    return codec.y * weight;
}
