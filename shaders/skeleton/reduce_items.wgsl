// Source of a reduction: the items' losses, written by the loss' own kernel.

@group(0) @binding(3) var<storage, read> items: array<u32>;

fn read_item(i: u32) -> Record {
    return item_record(items[i], i);
}
