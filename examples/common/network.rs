//! Networks small enough to train on the CPU. Their losses, and the gradients they learn from, come from deeploss.

use std::mem;

use deeploss::Output;
use ndarray::{Array1, Array2, Axis, Zip};

use super::{Result, Rng};

/// How a network learns: stochastic gradient descent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sgd {
    pub(crate) rate: f32,
    /// Share of the last step that the next one keeps.
    pub(crate) momentum: f32,
    /// Weight decay: adds decay / 2 |W|² to the loss. Biases do not decay.
    pub(crate) decay: f32,
    /// Samples per step.
    pub(crate) batch: usize,
}

/// x -> relu(x V + a) W + b, with any number of hidden layers; without one a linear model.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    hidden: Vec<Layer>,
    out: Layer,
}

/// x W + b, with what momentum remembers of each parameter's gradients.
#[derive(Debug, Clone)]
struct Layer {
    /// (inputs, outputs)
    weight: Array2<f32>,
    bias: Array1<f32>,
    weight_velocity: Array2<f32>,
    bias_velocity: Array1<f32>,
}

/// What the backward pass needs of the forward pass.
pub(crate) struct Pass {
    /// One per hidden layer.
    hidden: Vec<Array2<f32>>,
    pub(crate) logits: Array2<f32>,
}

impl Network {
    /// A random network with hidden layers of the given sizes.
    pub(crate) fn new(inputs: usize, hidden: &[usize], outputs: usize, rng: &mut Rng) -> Self {
        let mut size = inputs;
        let hidden = hidden.iter().map(|&outputs| Layer::new(mem::replace(&mut size, outputs), outputs, rng)).collect();
        Self { hidden, out: Layer::new(size, outputs, rng) }
    }

    pub(crate) fn forward(&self, x: &Array2<f32>) -> Pass {
        let mut hidden: Vec<Array2<f32>> = Vec::new();
        for layer in &self.hidden {
            hidden.push(layer.forward(hidden.last().unwrap_or(x)).mapv_into(|v| v.max(0.0)));
        }
        let logits = self.out.forward(hidden.last().unwrap_or(x));
        Pass { hidden, logits }
    }

    /// One step of gradient descent, from the gradient with respect to the logits that the loss gave.
    pub(crate) fn step(&mut self, x: &Array2<f32>, pass: &Pass, grad_logits: &Array2<f32>, sgd: Sgd) {
        let (mut layer, mut grad) = (&mut self.out, grad_logits.clone());
        for (before, values) in self.hidden.iter_mut().zip(&pass.hidden).rev() {
            let mut grad_values = grad.dot(&layer.weight.t());
            Zip::from(&mut grad_values).and(values).for_each(|g, &value| {
                if value == 0.0 {
                    *g = 0.0;
                }
            });
            layer.step(values, &grad, sgd);
            (layer, grad) = (before, grad_values);
        }
        layer.step(x, &grad, sgd);
    }

    /// One pass over the samples in random order, a step per batch. `loss` gets a batch's logits and which samples they
    /// are of, and gives their mean loss and its gradient. Returns the mean loss of the pass.
    pub(crate) fn epoch(
        &mut self,
        x: &Array2<f32>,
        sgd: Sgd,
        rng: &mut Rng,
        loss: impl Fn(&Array2<f32>, &[usize]) -> Result<(f32, Array2<f32>)>,
    ) -> Result<f64> {
        let mut order: Vec<usize> = (0..x.nrows()).collect();
        rng.shuffle(&mut order);
        let mut sum = 0.0;
        for samples in order.chunks(sgd.batch) {
            let x = x.select(Axis(0), samples);
            let pass = self.forward(&x);
            let (mean, grad) = loss(&pass.logits, samples)?;
            self.step(&x, &pass, &grad, sgd);
            sum += f64::from(mean) * samples.len() as f64;
        }
        Ok(sum / x.nrows() as f64)
    }
}

impl Layer {
    /// He's initialisation: normal with variance 2 / inputs, so that signals keep their size through a ReLU.
    fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        let deviation = (2.0 / inputs as f32).sqrt();
        Self {
            weight: Array2::from_shape_simple_fn((inputs, outputs), || deviation * rng.normal()),
            bias: Array1::zeros(outputs),
            weight_velocity: Array2::zeros((inputs, outputs)),
            bias_velocity: Array1::zeros(outputs),
        }
    }

    fn forward(&self, x: &Array2<f32>) -> Array2<f32> {
        x.dot(&self.weight) + &self.bias
    }

    fn step(&mut self, x: &Array2<f32>, grad: &Array2<f32>, sgd: Sgd) {
        self.weight_velocity = sgd.momentum * &self.weight_velocity + x.t().dot(grad);
        self.weight_velocity.scaled_add(sgd.decay, &self.weight);
        self.bias_velocity = sgd.momentum * &self.bias_velocity + grad.sum_axis(Axis(0));
        self.weight.scaled_add(-sgd.rate, &self.weight_velocity);
        self.bias.scaled_add(-sgd.rate, &self.bias_velocity);
    }
}

/// The mean loss of a batch, and its gradient with respect to the logits.
pub(crate) fn loss_and_grad(output: Output) -> Result<(f32, Array2<f32>)> {
    let loss = output.scalar().ok_or("no loss")?;
    Ok((loss, output.grad_input.ok_or("no gradient")?.into_dimensionality()?))
}
