// Four query rows at a time, in the components of a value. Siblings: block_1.wgsl, block_2.wgsl.

const BLOCK: u32 = 4u;
alias Rows = vec4<f32>;
alias RowNumbers = vec4<u32>;
alias RowTests = vec4<bool>;

// Which component is row `row` of the block.
fn is_row(row: u32) -> RowTests {
    return vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(row);
}

fn row_value(rows: Rows, row: u32) -> f32 {
    return rows[row];
}

// The block's of four values.
fn block_of(numbers: vec4<f32>) -> Rows {
    return numbers;
}
