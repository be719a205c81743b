// The value of an invalid item is not known by its index, or no item can be invalid.

fn reported_value(i: u32) -> u32 {
    return 0u;
}
