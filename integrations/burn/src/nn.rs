//! The losses under the names, fields and methods that they have in `burn::nn`: who uses those changes the `use`.

/// As `burn::nn::loss`, where both have a loss.
///
/// ```no_run
/// use burn::tensor::{Device, Int, Tensor};
/// use deeploss_burn::nn::loss::CrossEntropyLossConfig;        // was: burn::nn::loss::CrossEntropyLossConfig
///
/// # fn example(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
/// let loss = CrossEntropyLossConfig::new().with_smoothing(Some(0.1)).init(&logits.device());
/// loss.forward(logits, targets)
/// # }
/// ```
pub mod loss {
    /// Burn's, which the losses here take; those of this crate itself take [`crate::Reduction`].
    pub use burn::nn::loss::Reduction;

    use burn::config::Config;
    use burn::module::Module;
    use burn::tensor::{Bool, Device, Int, Tensor};

    use crate::{
        Bce, BceWithLogits, CrossEntropy, Forward, HingeEmbedding, KlDiv, Loss, MarginRanking, MultiMargin, SoftMargin,
        Tensors,
    };

    /// Configuration of a [`CrossEntropyLoss`].
    #[derive(Config, Debug)]
    pub struct CrossEntropyLossConfig {
        /// Class indices whose rows are ignored.
        pub pad_tokens: Option<Vec<usize>>,
        /// A weight per class.
        pub weights: Option<Vec<f32>>,
        /// Label smoothing, from 0 to 1.
        pub smoothing: Option<f32>,
        /// Whether the inputs are logits; else they are probabilities, whose rows sum to 1.
        #[config(default = true)]
        pub logits: bool,
    }

    impl CrossEntropyLossConfig {
        /// The loss.
        #[must_use]
        pub fn init(&self, device: &Device) -> CrossEntropyLoss {
            CrossEntropyLoss {
                pad_tokens: self.pad_tokens.clone(),
                weights: self.weights.as_ref().map(|weights| Tensor::from_floats(weights.as_slice(), device)),
                smoothing: self.smoothing,
                logits: self.logits,
            }
        }
    }

    /// [`CrossEntropy`] with the fields of Burn's; the mean over the rows that are not ignored, by their weights.
    #[derive(Module, Debug)]
    pub struct CrossEntropyLoss {
        /// Class indices whose rows are ignored.
        pub pad_tokens: Option<Vec<usize>>,
        /// A weight per class.
        pub weights: Option<Tensor<1>>,
        /// Label smoothing.
        pub smoothing: Option<f32>,
        /// Whether the inputs are logits.
        pub logits: bool,
    }

    impl CrossEntropyLoss {
        /// As Burn's.
        #[must_use]
        pub fn new(pad_index: Option<usize>, device: &Device) -> Self {
            CrossEntropyLossConfig::new().with_pad_tokens(pad_index.map(|index| vec![index])).init(device)
        }

        /// The mean loss of logits `[batch_size, classes]` and targets `[batch_size]`, or of logits with more
        /// dimensions, classes second: `[batch_size, classes, length]` and `[batch_size, length]`.
        ///
        /// It does not panic, see [`Forward`].
        pub fn forward<const D: usize, const T: usize>(&self, logits: Tensor<D>, targets: Tensor<T, Int>) -> Tensor<1> {
            let mut loss = CrossEntropy::new().label_smoothing(self.smoothing.unwrap_or(0.0));
            let tokens = self.pad_tokens.as_deref().unwrap_or_default();
            let mask = if tokens.len() <= IGNORED_AT_ONCE {
                if !tokens.is_empty() {
                    loss = loss.ignore_indices(tokens.iter().map(|&token| token as i64).collect::<Vec<_>>());
                }
                None
            } else {
                let masks = tokens.iter().map(|&token| targets.clone().equal_scalar(token as i64));
                masks.reduce(|all: Tensor<T, Bool>, mask| all.bool_or(mask))
            };
            // The softmax of the logarithms of probabilities are the probabilities.
            let logits = match logits.dtype().finfo() {
                Some(info) if !self.logits => logits.clamp_min(info.min_positive.sqrt()).log(),
                _ => logits,
            };
            let mut call = Tensors::new(logits, targets);
            if let Some(weights) = &self.weights {
                loss = loss.weight_from_buffer();
                call = call.weight(weights.clone());
            }
            if let Some(mask) = mask {
                call = call.ignore_mask(mask);
            }
            loss.call(call)
        }
    }

    /// Classes that kernels ignore by their index.
    const IGNORED_AT_ONCE: usize = 4;

    /// Configuration of a [`BinaryCrossEntropyLoss`].
    #[derive(Config, Debug)]
    pub struct BinaryCrossEntropyLossConfig {
        /// A weight per class, which is the last dimension; of one dimension, of the labels 0 and 1.
        pub weights: Option<Vec<f32>>,
        /// Label smoothing, from 0 to 1.
        pub smoothing: Option<f32>,
        /// Whether the inputs are logits; else they are probabilities.
        #[config(default = false)]
        pub logits: bool,
    }

    impl BinaryCrossEntropyLossConfig {
        /// The loss.
        #[must_use]
        pub fn init(&self, device: &Device) -> BinaryCrossEntropyLoss {
            BinaryCrossEntropyLoss {
                weights: self.weights.as_ref().map(|weights| Tensor::from_floats(weights.as_slice(), device)),
                smoothing: self.smoothing,
                logits: self.logits,
            }
        }
    }

    /// [`Bce`] or [`BceWithLogits`] with the fields of Burn's; the mean over all elements.
    #[derive(Module, Debug)]
    pub struct BinaryCrossEntropyLoss {
        /// A weight per class.
        pub weights: Option<Tensor<1>>,
        /// Label smoothing.
        pub smoothing: Option<f32>,
        /// Whether the inputs are logits.
        pub logits: bool,
    }

    impl BinaryCrossEntropyLoss {
        /// The mean loss of predictions and targets of one shape. [`Forward`] says what becomes of errors.
        pub fn forward<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D, Int>) -> Tensor<1> {
            let shape = targets.dims();
            let classes = if D > 1 { shape[D - 1] } else { 2 };
            let weights = self.weights.as_ref().map(|weights| match D {
                1 => weights.clone().gather(0, targets.clone().reshape([shape[0]])),
                _ => weights.clone(),
            });
            let mut call = match self.smoothing {
                // Burn's smoothing, which goes by the number of classes.
                Some(e) => Tensors::new(logits, targets.float().mul_scalar(1.0 - e).add_scalar(e / classes as f32)),
                None => Tensors::new(logits, targets),
            };
            let mut sizes = None;
            if let Some(weights) = weights {
                sizes = Some(weights.dims());
                call = call.weight(weights);
            }
            match (self.logits, sizes) {
                (true, None) => BceWithLogits::new().call(call),
                (true, Some(sizes)) => BceWithLogits::new().weight_from_buffer(&sizes).call(call),
                (false, None) => Bce::new().call(call),
                (false, Some(sizes)) => Bce::new().weight_from_buffer(&sizes).call(call),
            }
        }
    }

    /// Configuration of a [`KLDivLoss`].
    #[derive(Config, Debug)]
    pub struct KLDivLossConfig {
        /// Whether targets are logarithms of probabilities.
        #[config(default = false)]
        pub log_target: bool,
    }

    impl KLDivLossConfig {
        /// The loss.
        #[must_use]
        pub fn init(&self) -> KLDivLoss {
            KLDivLoss { log_target: self.log_target }
        }
    }

    /// [`KlDiv`] with the fields of Burn's; `Auto` is `BatchMean`.
    #[derive(Module, Debug)]
    pub struct KLDivLoss {
        /// Whether targets are logarithms of probabilities.
        pub log_target: bool,
    }

    impl KLDivLoss {
        /// The loss of logarithms of probabilities.
        pub fn forward<const D: usize>(
            &self,
            predictions: Tensor<D>,
            targets: Tensor<D>,
            reduction: Reduction,
        ) -> Tensor<1> {
            let reduction = if matches!(reduction, Reduction::Auto) { Reduction::BatchMean } else { reduction };
            reduced(&KlDiv::new().log_target(self.log_target), &reduction).forward(predictions, targets)
        }

        /// The losses of the elements.
        pub fn forward_no_reduction<const D: usize>(&self, predictions: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
            KlDiv::new().log_target(self.log_target).forward_no_reduction(predictions, targets)
        }
    }

    /// Configuration of a [`HingeEmbeddingLoss`].
    #[derive(Config, Debug)]
    pub struct HingeEmbeddingLossConfig {
        /// The margin.
        #[config(default = 1.0)]
        pub margin: f64,
    }

    impl HingeEmbeddingLossConfig {
        /// The loss.
        #[must_use]
        pub fn init(&self) -> HingeEmbeddingLoss {
            HingeEmbeddingLoss { margin: self.margin }
        }
    }

    /// [`HingeEmbedding`] with the fields of Burn's; `Auto` is `Mean`.
    #[derive(Module, Debug)]
    pub struct HingeEmbeddingLoss {
        /// The margin.
        pub margin: f64,
    }

    impl HingeEmbeddingLoss {
        /// The loss of distances and signs.
        pub fn forward<const D: usize>(&self, input: Tensor<D>, target: Tensor<D>, reduction: Reduction) -> Tensor<1> {
            reduced(&HingeEmbedding::new().margin(self.margin as f32), &reduction).forward(input, target)
        }

        /// The losses of the elements.
        pub fn forward_no_reduction<const D: usize>(&self, input: Tensor<D>, target: Tensor<D>) -> Tensor<D> {
            HingeEmbedding::new().margin(self.margin as f32).forward_no_reduction(input, target)
        }
    }

    /// Configuration of a [`MarginRankingLoss`].
    #[derive(Config, Debug)]
    pub struct MarginRankingLossConfig {
        /// The margin.
        #[config(default = 0.0)]
        pub margin: f64,
    }

    impl MarginRankingLossConfig {
        /// The loss.
        #[must_use]
        pub fn init(&self) -> MarginRankingLoss {
            MarginRankingLoss { margin: self.margin }
        }
    }

    /// [`MarginRanking`] with the fields of Burn's; `Auto` is `Mean`.
    #[derive(Module, Debug)]
    pub struct MarginRankingLoss {
        /// The margin.
        pub margin: f64,
    }

    impl MarginRankingLoss {
        /// The loss of two scores and a sign.
        pub fn forward<const D: usize>(
            &self,
            first: Tensor<D>,
            second: Tensor<D>,
            target: Tensor<D>,
            reduction: Reduction,
        ) -> Tensor<1> {
            let call = Tensors::new(first, target).input2(second);
            reduced(&MarginRanking::new().margin(self.margin as f32), &reduction).call(call)
        }

        /// The losses of the elements.
        pub fn forward_no_reduction<const D: usize>(
            &self,
            first: Tensor<D>,
            second: Tensor<D>,
            target: Tensor<D>,
        ) -> Tensor<D> {
            let loss = MarginRanking::new().margin(self.margin as f32).reduction(crate::Reduction::None);
            loss.call(Tensors::new(first, target).input2(second))
        }
    }

    /// [`SoftMargin`] with the methods of Burn's; `Auto` is `Mean`.
    #[derive(Module, Debug, Default)]
    pub struct SoftMarginLoss;

    impl SoftMarginLoss {
        /// The loss.
        #[must_use]
        pub fn new() -> Self {
            Self
        }

        /// The loss of logits and signs.
        pub fn forward<const D: usize>(
            &self,
            logits: Tensor<D>,
            targets: Tensor<D>,
            reduction: Reduction,
        ) -> Tensor<1> {
            reduced(&SoftMargin::new(), &reduction).forward(logits, targets)
        }

        /// The losses of the elements.
        pub fn forward_no_reduction<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
            SoftMargin::new().forward_no_reduction(logits, targets)
        }
    }

    /// Configuration of a [`MultiMarginLoss`].
    #[derive(Config, Debug)]
    pub struct MultiMarginLossConfig {
        /// The margin.
        #[config(default = 1.0)]
        pub margin: f64,
        /// The power, 1 or 2.
        #[config(default = 1)]
        pub p: i32,
    }

    impl MultiMarginLossConfig {
        /// The loss.
        #[must_use]
        pub fn init(&self) -> MultiMarginLoss {
            MultiMarginLoss { margin: self.margin, p: self.p }
        }
    }

    /// [`MultiMargin`] with the fields of Burn's; `Auto` is `Mean`.
    #[derive(Module, Debug)]
    pub struct MultiMarginLoss {
        /// The margin.
        pub margin: f64,
        /// The power, 1 or 2.
        pub p: i32,
    }

    impl MultiMarginLoss {
        fn loss(&self) -> MultiMargin {
            // A power that is none is refused by the loss, with its name.
            MultiMargin::new().margin(self.margin as f32).p(u32::try_from(self.p).unwrap_or(0))
        }

        /// The loss of scores and class indices.
        pub fn forward(&self, input: Tensor<2>, target: Tensor<1, Int>, reduction: Reduction) -> Tensor<1> {
            reduced(&self.loss(), &reduction).forward(input, target)
        }

        /// The losses of the rows.
        pub fn forward_no_reduction(&self, input: Tensor<2>, target: Tensor<1, Int>) -> Tensor<1> {
            self.loss().forward_no_reduction(input, target)
        }
    }

    fn reduced(loss: &dyn Loss, reduction: &Reduction) -> Box<dyn Loss> {
        loss.with_reduction(match reduction {
            Reduction::Mean | Reduction::Auto => crate::Reduction::Mean,
            Reduction::Sum => crate::Reduction::Sum,
            Reduction::BatchMean => crate::Reduction::BatchMean,
        })
    }
}
