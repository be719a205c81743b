// A mask of rows.

@group(0) @binding(5) var<storage, read> ignore_mask: array<u32>;

fn is_masked(row: u32) -> bool {
    return ignore_mask[row] != 0u;
}
