// Source of a reduction: what each item counts in the denominator of the mean where a mask excludes some.

fn read_item(i: u32) -> Record {
    return item_record(select(0u, 0x3f800000u, read_one(i) == 0u), i);
}
