// Codes are the numbers. Siblings: codec_scale.wgsl, codec_scale_zero.wgsl.

// The dot product with the numbers, from that with the codes and the sum of the queries.
fn dot_of(dot: Rows, q_sum: Rows, codec: Codec) -> Rows {
    return dot;
}

// What codes are weighted with.
fn code_weight(weight: Rows, codec: Codec) -> Rows {
    return weight;
}

// What all numbers of a row add besides their codes.
fn zero_weight(weight: Rows, codec: Codec) -> Rows {
    return Rows(0.0);
}
