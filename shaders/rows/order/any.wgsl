// Lanes write the gradient when they come to it: nobody reads what it overwrites. It goes to a tensor of its own, or a row is one
// invocation's.

fn await_reads() {
}
