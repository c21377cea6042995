//! Operations by name, and two measures of them: nanoseconds by criterion; and, for machines that do other things too, instructions,
//! which hardly differ from run to run.
//!
//! Called with `count` the program does each operation some times inside of [`counted`] and prints its name, and `scripts/bench-instructions`
//! runs it so under callgrind. There are libraries for this (gungraun, iai-callgrind); they want every operation told a second time in
//! macros of their own, and a runner of just their release built on every machine that counts.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;

/// How often an operation is done before it is counted: maps and buffers are then as large as they become.
const WARM_UP: u32 = 1_000;
/// How often it is counted. `scripts/bench-instructions` divides by it.
const COUNTED: u32 = 1_000;

/// Something that is done often. It ends in the state it began in, or in one of the same size, so that the thousandth time costs what
/// the first did.
pub(crate) struct Operation {
    name: String,
    run: Box<dyn FnMut()>,
}

impl Operation {
    /// An operation of this name, which is done once by each call.
    pub(crate) fn new<T>(name: impl Into<String>, mut run: impl FnMut() -> T + 'static) -> Self {
        Self { name: name.into(), run: Box::new(move || drop(black_box(run()))) }
    }
}

/// Measures all of them, as the program's arguments say.
pub(crate) fn measure(operations: Vec<Operation>) {
    let nothing = Operation::new("nothing: the call alone", || ());
    let operations = [nothing].into_iter().chain(operations);
    if std::env::args().nth(1).is_some_and(|argument| argument == "count") {
        println!("{COUNTED}");
        operations.for_each(count);
    } else {
        let quick = Duration::from_millis(500);
        let mut criterion = Criterion::default().measurement_time(quick).warm_up_time(quick / 2).configure_from_args();
        operations.for_each(|mut operation| {
            criterion.bench_function(&operation.name, |bencher| bencher.iter(&mut operation.run));
        });
    }
}

fn count(mut operation: Operation) {
    (0..WARM_UP).for_each(|_| (operation.run)());
    counted(&mut operation.run);
    println!("{}", operation.name);
}

/// Callgrind counts what happens between its begin and its end.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    (0..COUNTED).for_each(|_| run());
}
