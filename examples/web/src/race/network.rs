//! The maths of the networks, on the CPU: x -> relu((x, 1) V) -> (h, 1) W. What shaders/race.wgsl computes, by the same names.

use deeploss::Real;
use deeploss::internals::Rng;
use deeploss::ndarray::{Array2, ArrayView2, Axis, Zip, concatenate, s};

use super::digits::{CLASSES, PIXELS};

/// Stochastic gradient descent with momentum: v <- momentum v + gradient, w <- w - rate v.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// Length of a step.
    pub rate: f32,
    /// Share of the last step that the next one keeps.
    pub momentum: f32,
}

/// Both layers. The last row of each is its bias: the weights of an input that is always 1.
#[derive(Debug, Clone)]
pub struct Network<F> {
    /// V (PIXELS + 1, H) and W (H + 1, CLASSES).
    pub layers: [Array2<F>; 2],
    velocity: [Array2<F>; 2],
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
pub struct Pass<F> {
    /// h (N, H)
    pub hidden: Array2<F>,
    /// (N, CLASSES)
    pub logits: Array2<F>,
}

impl<F: Real> Network<F> {
    /// He's initialisation: normal with variance 2 / inputs, so that signals keep their size through a ReLU. Biases are 0.
    #[must_use]
    pub fn new(hidden: usize, rng: &mut Rng) -> Self {
        let layers = [(PIXELS, hidden), (hidden, CLASSES)].map(|(inputs, outputs)| {
            let deviation = (2.0 / inputs as f32).sqrt();
            Array2::from_shape_fn((inputs + 1, outputs), |(input, _)| {
                if input < inputs { F::of(f64::from(deviation * rng.normal())) } else { F::zero() }
            })
        });
        let velocity = layers.each_ref().map(|layer| Array2::zeros(layer.dim()));
        Self { layers, velocity }
    }

    /// Number of weights.
    #[expect(clippy::len_without_is_empty, reason = "a network without weights cannot be made")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.iter().map(|layer| layer.len()).sum()
    }

    /// Logits of these images (N, PIXELS).
    #[must_use]
    pub fn forward(&self, x: ArrayView2<'_, F>) -> Pass<F> {
        let [v, w] = &self.layers;
        let hidden = affine(x, v).mapv_into(|h| if h > F::zero() { h } else { F::zero() });
        let logits = affine(hidden.view(), w);
        Pass { hidden, logits }
    }

    /// Gradients of V and W, from that of the logits (N, CLASSES): by the chain rule, with h = relu(a),
    ///
    /// dW = (h, 1)^T dlogits,  da = dlogits W^T where a > 0,  dV = (x, 1)^T da
    #[must_use]
    pub fn gradient(&self, x: ArrayView2<'_, F>, pass: &Pass<F>, dlogits: &Array2<F>) -> [Array2<F>; 2] {
        let [_, w] = &self.layers;
        let mut da = dlogits.dot(&w.slice(s![..-1, ..]).t());
        Zip::from(&mut da).and(&pass.hidden).for_each(|da, &h| {
            if h <= F::zero() {
                *da = F::zero();
            }
        });
        [(x, &da), (pass.hidden.view(), dlogits)].map(|(inputs, d)| {
            let bias = d.sum_axis(Axis(0)).insert_axis(Axis(0));
            concatenate![Axis(0), inputs.t().dot(d), bias]
        })
    }

    /// One step down the gradient.
    pub fn descend(&mut self, gradient: &[Array2<F>; 2], descent: Descent) {
        let (rate, momentum) = (F::of(f64::from(descent.rate)), F::of(f64::from(descent.momentum)));
        for ((layer, velocity), gradient) in self.layers.iter_mut().zip(&mut self.velocity).zip(gradient) {
            Zip::from(layer).and(velocity).and(gradient).for_each(|w, v, &g| {
                *v = momentum * *v + g;
                *w -= rate * *v;
            });
        }
    }
}

/// (x, 1) W
fn affine<F: Real>(x: ArrayView2<'_, F>, w: &Array2<F>) -> Array2<F> {
    x.dot(&w.slice(s![..-1, ..])) + w.slice(s![-1, ..])
}

#[cfg(test)]
mod tests {
    use deeploss::{CrossEntropy, Evaluate, Tensors};

    use super::super::digits::{Data, Scenario};
    use super::*;

    /// Every weight of a small network, moved a little to both sides, changes the loss as the gradient says.
    #[test]
    fn gradient_is_the_slope() {
        const STEP: f64 = 1e-6;
        let data = Data::new(Scenario::Clean, 5);
        let x = data.train.images.slice(s![..6, ..]).mapv(f64::from);
        let labels = data.train.labels.slice(s![..6]);
        let mut network = Network::<f64>::new(5, &mut Rng::new(6));
        let evaluate = |network: &Network<f64>| {
            let pass = network.forward(x.view());
            let out = CrossEntropy::new().reference(&Tensors::new(pass.logits.view(), labels)).unwrap();
            let dlogits = out.grad_input.clone().unwrap().into_dimensionality().unwrap();
            (out.scalar().unwrap(), network.gradient(x.view(), &pass, &dlogits))
        };
        let (_, gradient) = evaluate(&network);
        let mut moved = 0;
        for (layer, gradient) in gradient.iter().enumerate() {
            for (at, &slope) in gradient.indexed_iter() {
                let kept = network.layers[layer][at];
                let [above, below] = [STEP, -STEP].map(|step| {
                    network.layers[layer][at] = kept + step;
                    evaluate(&network).0
                });
                network.layers[layer][at] = kept;
                let measured = (above - below) / (2.0 * STEP);
                assert!((measured - slope).abs() < 1e-8, "layer {layer}, weight {at:?}: {measured}, gradient {slope}");
                moved += usize::from(slope.abs() > 1e-6);
            }
        }
        assert!(moved > 200, "only {moved} weights have a gradient");
    }

    #[test]
    fn momentum_keeps_its_share_of_the_last_step() {
        let mut network = Network::<f64>::new(3, &mut Rng::new(1));
        let before = network.layers[0][[0, 0]];
        let ones = network.layers.each_ref().map(|layer| Array2::ones(layer.dim()));
        let descent = Descent { rate: 0.5, momentum: 0.25 };
        network.descend(&ones, descent);
        network.descend(&ones, descent);
        // 0.5 (1 + 1.25)
        assert!((network.layers[0][[0, 0]] - (before - 1.125)).abs() < 1e-12);
    }
}
