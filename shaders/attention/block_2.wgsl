// Two query rows at a time, in the components of a value. Siblings: block_1.wgsl, block_4.wgsl.

const BLOCK: u32 = 2u;
alias Rows = vec2<f32>;
alias RowNumbers = vec2<u32>;
alias RowTests = vec2<bool>;

// Which component is row `row` of the block.
fn is_row(row: u32) -> RowTests {
    return vec2<u32>(0u, 1u) == vec2<u32>(row);
}

fn row_value(rows: Rows, row: u32) -> f32 {
    return rows[row];
}

// The block's of four values.
fn block_of(numbers: vec4<f32>) -> Rows {
    return numbers.xy;
}
