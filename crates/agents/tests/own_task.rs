//! The example of a user's own task, as it stands.

#[path = "../examples/own_task.rs"]
mod own_task;

#[test]
fn the_example_learns_its_task() {
    let [before, after] = own_task::improve(4000).unwrap();
    assert!(after > before + 20.0, "{before} -> {after}");
    own_task::main().unwrap();
}
