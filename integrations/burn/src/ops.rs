//! The losses as operations of Burn's backends: what Burn dispatches, fuses around and differentiates.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, ExtensionType, backend_extension};
use burn_cubecl::CubeBackend;
use deeploss::Want;

use crate::call::Asked;

/// The tensors of a call, all of one device: those of f32 or i32 but for the input, which may have 16 bits.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct Operands<B: Backend> {
    pub(crate) input: FloatTensor<B>,
    #[extension_type]
    pub(crate) target: Labels<B>,
    #[extension_type]
    pub(crate) input2: Floats<B>,
    #[extension_type]
    pub(crate) weight: Floats<B>,
    #[extension_type]
    pub(crate) pos_weight: Floats<B>,
    #[extension_type]
    pub(crate) sample_weight: Floats<B>,
    #[extension_type]
    pub(crate) ignore_mask: Ints<B>,
}

/// A target.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) enum Labels<B: Backend> {
    /// Class indices.
    Indices(IntTensor<B>),
    /// Values.
    Values(FloatTensor<B>),
}

/// Floats that may be absent. (The derive takes neither `Option` nor a kind of tensors as a parameter.)
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) enum Floats<B: Backend> {
    Given(FloatTensor<B>),
    Absent,
}

/// Integers that may be absent.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) enum Ints<B: Backend> {
    Given(IntTensor<B>),
    Absent,
}

/// The gradients that were asked for.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct FusedGradients<B: Backend> {
    #[extension_type]
    pub(crate) input: Floats<B>,
    #[extension_type]
    pub(crate) input2: Floats<B>,
    #[extension_type]
    pub(crate) target: Floats<B>,
}

/// What a backend does for the losses.
#[backend_extension(Cube, Autodiff, Fusion: cfg(feature = "fusion"))]
pub(crate) trait FusedLoss: Backend {
    /// The loss.
    #[fusion(meta = |_operands, asked| asked.loss_spec())]
    fn fused_loss(#[extension_type] operands: Operands<Self>, asked: Asked) -> FloatTensor<Self>;

    /// The gradients of sum(loss * grad_output).
    #[fusion(meta = |operands, _grad_output, asked| asked.gradient_specs(operands))]
    fn fused_gradients(
        #[extension_type] operands: Operands<Self>,
        grad_output: FloatTensor<Self>,
        asked: Asked,
    ) -> FusedGradients<Self>;
}

impl FusedLoss for CubeBackend {
    fn fused_loss(operands: Operands<Self>, asked: Asked) -> FloatTensor<Self> {
        asked.call.loss(operands)
    }

    fn fused_gradients(operands: Operands<Self>, grad_output: FloatTensor<Self>, asked: Asked) -> FusedGradients<Self> {
        asked.call.gradients(operands, grad_output, asked.want)
    }
}

impl<B: FusedLoss, C: CheckpointStrategy> FusedLoss for Autodiff<B, C> {
    fn fused_loss(operands: Operands<Self>, asked: Asked) -> FloatTensor<Self> {
        let (operands, nodes) = open(operands);
        match FusedBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                // Handles: nothing is copied, and nothing but what was given is held until then.
                let state = (operands.clone(), asked.clone());
                prep.finish(state, B::fused_loss(operands, asked))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fused_loss(operands, asked)),
        }
    }

    /// Gradients have no gradients here, as anywhere in Burn.
    fn fused_gradients(operands: Operands<Self>, grad_output: FloatTensor<Self>, asked: Asked) -> FusedGradients<Self> {
        let lift = |floats| match floats {
            Floats::Given(tensor) => Floats::Given(Self::from_inner(tensor)),
            Floats::Absent => Floats::Absent,
        };
        let (operands, _) = open(operands);
        let FusedGradients { input, input2, target } =
            B::fused_gradients(operands, grad_output.into_primitive(), asked);
        FusedGradients { input: lift(input), input2: lift(input2), target: lift(target) }
    }
}

/// The operands of the inner backend, and the nodes of those that may have gradients: input, second input, target.
fn open<B: Backend, C: CheckpointStrategy>(operands: Operands<Autodiff<B, C>>) -> (Operands<B>, [NodeGuard; 3]) {
    let (input, input_node) = operands.input.into_parts();
    // What is absent is a constant.
    let constant = || Autodiff::<B, C>::from_inner(input.clone()).node();
    let inner = |floats: Floats<Autodiff<B, C>>| match floats {
        Floats::Given(tensor) => Floats::Given(tensor.into_primitive()),
        Floats::Absent => Floats::Absent,
    };
    let (target, target_node) = match operands.target {
        Labels::Indices(tensor) => (Labels::Indices(tensor), constant()),
        Labels::Values(tensor) => {
            let (tensor, node) = tensor.into_parts();
            (Labels::Values(tensor), node)
        }
    };
    let (input2, input2_node) = match operands.input2 {
        Floats::Absent => (Floats::Absent, constant()),
        Floats::Given(tensor) => {
            let (tensor, node) = tensor.into_parts();
            (Floats::Given(tensor), node)
        }
    };
    let operands = Operands {
        target,
        input2,
        weight: inner(operands.weight),
        pos_weight: inner(operands.pos_weight),
        sample_weight: inner(operands.sample_weight),
        ignore_mask: match operands.ignore_mask {
            Ints::Given(tensor) => Ints::Given(tensor),
            Ints::Absent => Ints::Absent,
        },
        input,
    };
    (operands, [input_node, input2_node, target_node])
}

/// The gradients of input, second input and target, with the upstream gradient, together.
#[derive(Debug)]
struct FusedBackward;

impl<B: FusedLoss> Backward<B, 3> for FusedBackward {
    type State = (Operands<B>, Asked);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad_output = grads.consume::<B>(&ops.node);
        let (operands, asked) = ops.state;
        let wanted = [Want::GRAD, Want::GRAD_INPUT2, Want::GRAD_TARGET];
        let tracked = ops.parents.iter().zip(wanted).filter(|(parent, _)| parent.is_some());
        let want = tracked.fold(Want::empty(), |all, (_, want)| all | want);
        let FusedGradients { input, input2, target } = B::fused_gradients(operands, grad_output, asked.wants(want));
        for (parent, gradient) in ops.parents.into_iter().zip([input, input2, target]) {
            if let (Some(node), Floats::Given(gradient)) = (parent, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}
