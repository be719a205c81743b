//! What other frameworks take for loss and gradient of 256 MiB of logits.

use crate::goal::sizes;
use crate::predictions;
use crate::report::{Block, Row, table};
use crate::storage::Storage;

/// One NVIDIA H200, driver 580.159: PyTorch 2.11.0 with CUDA 13.0, Liger's Triton kernels, medians. On another card only multiples
/// of its copy compare.
const CARD: &str = "H200";
/// Of the same card: the best WGSL copy of as many bytes.
const COPY_MS: f64 = 0.128;

struct Peer {
    op: &'static str,
    storage: Storage,
    classes: usize,
    compiled_ms: Option<f64>,
    liger_ms: Option<f64>,
}

const fn peer(
    op: &'static str,
    storage: Storage,
    classes: usize,
    compiled_ms: Option<f64>,
    liger_ms: Option<f64>,
) -> Peer {
    Peer { op, storage, classes, compiled_ms, liger_ms }
}

/// Those of 131 072 classes were measured at 128 256.
#[rustfmt::skip]
const PEERS: &[Peer] = &[
    peer("cross_entropy", Storage::F32, 10, Some(0.523), Some(51.6)),
    peer("cross_entropy", Storage::F32, 128, Some(0.652), Some(5.94)),
    peer("cross_entropy", Storage::F32, 1000, Some(0.676), Some(1.44)),
    peer("cross_entropy", Storage::F32, 4096, Some(0.556), Some(0.740)),
    peer("cross_entropy", Storage::F32, 32_000, Some(0.516), Some(0.679)),
    peer("cross_entropy", Storage::F32, 50_257, None, Some(0.922)),
    peer("cross_entropy", Storage::F32, 131_072, Some(0.835), Some(1.06)),
    peer("cross_entropy", Storage::Bf16, 128, Some(0.489), Some(11.0)),
    peer("cross_entropy", Storage::Bf16, 1000, Some(0.362), Some(2.03)),
    peer("cross_entropy", Storage::Bf16, 4096, Some(0.636), Some(0.989)),
    peer("cross_entropy", Storage::Bf16, 32_000, Some(0.430), Some(0.597)),
    peer("binary_cross_entropy_with_logits", Storage::F32, 1024, Some(0.349), None),
    peer("hinge_loss", Storage::F32, 1024, Some(0.407), None),
    peer("soft_margin_loss", Storage::F32, 1024, Some(0.329), None),
];

/// A line for every block that a peer was measured at too.
pub(crate) fn print(blocks: &[Block], card: &str, markdown: bool) {
    let found = PEERS.iter().filter_map(|peer| {
        let mut same = blocks.iter().filter(|block| block.op == peer.op && block.shape[1] == peer.classes);
        let (block, ours) =
            same.find_map(|block| Some((block, block.find("deeploss", "both", peer.storage.name())?)))?;
        Some(line(peer, block, ours))
    });
    let (rows, ahead): (Vec<_>, Vec<_>) = found.unzip();
    let header =
        ["loss and gradient", "dtype", "ms", "/ K", "predicted", "torch.compile, ms", "/ K", "Liger, ms", "/ K", ""];
    println!("\npeers, as multiples of K, the copy of the logits on the card of each\n");
    println!("{}", table(&header, &rows, markdown));
    println!("{} of {} ahead of their peers", ahead.iter().filter(|ahead| **ahead).count(), ahead.len());
    println!("peers: one NVIDIA {CARD}, driver 580.159, where K was {COPY_MS} ms; ours: {card}");
    if !card.contains(CARD) {
        println!("these are different cards: milliseconds do not compare, multiples of K roughly do");
    }
}

/// The cells, and whether ours is ahead.
fn line(peer: &Peer, block: &Block, ours: &Row) -> (Vec<String>, bool) {
    let predicted = match peer.op {
        "cross_entropy" => predictions::of_cross_entropy(peer.storage, peer.classes).map(|figures| figures.fused),
        // A multiple of the least, which is another multiple of the copy.
        _ => Some(predictions::ELEMENT_WISE.fused * ours.floor * ours.ratio / ours.median),
    };
    let others = [peer.compiled_ms, peer.liger_ms];
    let ahead = others.iter().flatten().all(|ms| ours.ratio < ms / COPY_MS);
    let mut cells = vec![
        sizes(block),
        ours.dtype.into(),
        format!("{:.3}", 1e3 * ours.median),
        format!("{:.2}", ours.ratio),
        predicted.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
    ];
    for ms in others {
        cells.push(ms.map(|ms| format!("{ms:.3}")).unwrap_or_default());
        cells.push(ms.map(|ms| format!("{:.2}", ms / COPY_MS)).unwrap_or_default());
    }
    cells.push(if ahead { "ahead" } else { "BEHIND" }.into());
    (cells, ahead)
}
