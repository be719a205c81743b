// An invalid item is reported with its input: io/read/.

fn reported_value(i: u32) -> u32 {
    return read_one(i);
}
