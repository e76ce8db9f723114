// One query row at a time, in the components of a value. Siblings: block_2.wgsl, block_4.wgsl.

const BLOCK: u32 = 1u;
alias Rows = f32;
alias RowNumbers = u32;
alias RowTests = bool;

// Which component is row `row` of the block.
fn is_row(row: u32) -> RowTests {
    return true;
}

fn row_value(rows: Rows, row: u32) -> f32 {
    return rows;
}

// The block's of four values.
fn block_of(numbers: vec4<f32>) -> Rows {
    return numbers.x;
}
