//! Three complete VG-SAC updates with prescribed networks, batch and noise, against the released
//! implementation in double precision (`tests/data/vgsac_update.json`; its `note` says what is in
//! it).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use agents::replay::{Batch, TransitionShape};
use agents::{Sac, SacSettings};
use critics::{Activation, Mlp, MlpSpec, SquashedGaussian};
use serde_json::Value;

const TOLERANCE: f64 = 1e-10;

/// All numbers below `value`, in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The layers `names` of a stored network, one after the other as (weight, bias).
fn params(net: &Value, names: &[&str]) -> Vec<f64> {
    names
        .iter()
        .flat_map(|name| ["weight", "bias"].map(|part| numbers(&net[format!("{name}.{part}")])))
        .flatten()
        .collect()
}

const Q1: [&str; 3] = ["linear1", "linear2", "linear3"];
const Q2: [&str; 3] = ["linear4", "linear5", "linear6"];

/// The actor's layers, its two heads stacked into one output layer.
fn actor_params(policy: &Value) -> Vec<f64> {
    let mut flat = params(policy, &["linear1", "linear2"]);
    for part in ["weight", "bias"] {
        flat.extend(numbers(&policy[format!("mean_linear.{part}")]));
        flat.extend(numbers(&policy[format!("log_std_linear.{part}")]));
    }
    flat
}

fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= TOLERANCE * e.abs().max(1.0), "{what}[{i}]: {f} is not {e}");
    }
}

#[test]
fn three_updates_agree_with_the_released_implementation_to_1e_10() {
    let text = include_str!("data/vgsac_update.json");
    let data: Value = serde_json::from_str(text).unwrap();
    let shape = TransitionShape { n_observations: 3, nu: 2, ndx: 3 };
    let critic = |net: &Value, names: &[&str]| {
        let spec = MlpSpec { sizes: vec![5, 8, 8, 1], hidden: Activation::Tanh };
        Mlp::new(spec, params(net, names)).unwrap()
    };
    let pair = |net: &Value| [critic(net, &Q1), critic(net, &Q2)];
    let init = &data["init"];
    let actor = SquashedGaussian::new(
        Mlp::new(
            MlpSpec { sizes: vec![3, 5, 5, 4], hidden: Activation::Relu },
            actor_params(&init["policy"]),
        )
        .unwrap(),
        &numbers(&data["action_low"]),
        &numbers(&data["action_high"]),
    )
    .unwrap();
    let settings = SacSettings { batch_size: 6, ..SacSettings::vg_sac() };
    let mut sac = Sac::<f64>::from_networks(
        &settings,
        shape,
        data["hyper"]["gamma"].as_f64().unwrap(),
        actor,
        pair(&init["critic"]),
        pair(&init["critic_target"]),
    );
    let b = &data["batch"];
    let batch = Batch {
        o: numbers(&b["state"]),
        u: numbers(&b["action"]),
        reward: numbers(&b["reward"]),
        o_next: numbers(&b["next_state"]),
        mask: numbers(&b["mask"]),
        jacobian: numbers(&b["jac"]),
        reward_gradient: numbers(&b["reward_grad"]),
        observation_jacobian: Vec::new(),
    };
    for expected in data["updates"].as_array().unwrap() {
        let number = |key: &str| expected[key].as_f64().unwrap();
        sac.critics.n_steps = expected["update_index"].as_u64().unwrap();
        let label = format!("update {}", sac.critics.n_steps);
        let report =
            sac.update(&batch, &numbers(&expected["eps_next"]), &numbers(&expected["eps_pi"]));
        for (what, found, key) in [
            ("q1 loss", report.critics.q_loss[0], "q1_loss"),
            ("q2 loss", report.critics.q_loss[1], "q2_loss"),
            ("policy loss", report.policy_loss, "policy_loss"),
            ("state-gradient loss", report.critics.state_gradient_loss, "state_grad_loss"),
            ("action-gradient loss", report.critics.action_gradient_loss, "action_grad_loss"),
            ("critic loss", report.critics.critic_loss, "critic_loss"),
            ("kappa_s", report.critics.kappa[0], "coeff_state"),
            ("kappa_a", report.critics.kappa[1], "coeff_action"),
        ] {
            assert_close(&format!("{label}, {what}"), &[found], &[number(key)]);
        }
        let (state, action): (Vec<f64>, Vec<f64>) = {
            let rows = sac.critics.gradient_target().chunks_exact(5);
            (
                rows.clone().flat_map(|row| row[..3].to_vec()).collect(),
                rows.flat_map(|row| row[3..].to_vec()).collect(),
            )
        };
        assert_close(&label, &state, &numbers(&expected["target_gradient_state"]));
        assert_close(&label, &action, &numbers(&expected["target_gradient_action"]));
        let median = |m: &critics::RunningMedian| m.values.clone().unwrap();
        let balance = &sac.critics.balance;
        assert_close(
            &label,
            &median(&balance.state_median),
            &numbers(&expected["running_median_state"]),
        );
        assert_close(
            &label,
            &median(&balance.action_median),
            &numbers(&expected["running_median_action"]),
        );
        let after = &expected["after"];
        for (found, net, names) in [
            (&sac.critics.members[0].net, "critic", &Q1),
            (&sac.critics.members[1].net, "critic", &Q2),
            (&sac.critics.members[0].target, "critic_target", &Q1),
            (&sac.critics.members[1].target, "critic_target", &Q2),
        ] {
            assert_close(&format!("{label}, {net}"), found.params(), &params(&after[net], names));
        }
        assert_close(
            &format!("{label}, policy"),
            sac.actor.net().params(),
            &actor_params(&after["policy"]),
        );
    }
}
