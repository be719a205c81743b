//! A guide to classification losses, for people who learn: what each measures, how to read its value, when to use it,
//! what its options do and what goes wrong. Tests compute its worked examples.
//!
//! Read the first chapter, then the one of your loss. The others are for when a choice or a trouble comes up. Where the
//! text says *drag*, it speaks of a figure: `cargo xtask web` shows the same chapters with figures, which run these
//! shaders.
//!
#![doc = include_str!("contents.md")]

// The chapters are Markdown files, from which the web page is made as well: `# title`, a paragraph that says what it is
// about, then sections; those of a loss have the same headings in all chapters.
//
// A figure is a comment on lines of its own, `<!-- figure {JSON} -->`, which rustdoc does not show. It is a call:
// `loss` by its name in `LOSSES`; `input`, `target`, and perhaps `input2` and `sample_weight`, as nested lists of
// numbers, in which "-inf", "inf" and "nan" stand for what JSON does not have; `options` as `LossInfo::from_options`
// takes them, and `reduction`. A target with one dimension less than the input holds class indices, and so does that of
// `multilabel_margin_loss`; every other holds values. `expect` is the loss in f64 of the numbers as f32 holds them,
// `title` says what to look at, `move` what to change first. The paragraph before it says what to try.

macro_rules! chapters {
    ($($name:ident)*) => {$(
        pub mod $name {
            #![doc = include_str!(concat!(stringify!($name), ".md"))]
            #![doc = "\n\n*What can be dragged here: `cargo xtask web` shows this chapter with its figures.*"]
        }
    )*};
}
chapters! {
    introduction
    cross_entropy
    nll
    softmax_focal
    bce
    bce_with_logits
    sigmoid_focal
    kl_div
    kl_from_logits
    hinge
    squared_hinge
    margin_ranking
    hinge_embedding
    soft_margin
    multi_margin
    crammer_singer
    multilabel_margin
    multilabel_soft_margin
    choosing
    troubles
    where_it_runs
}
