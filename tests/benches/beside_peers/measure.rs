//! How one operation is measured: CPU time with criterion, and the allocations of one run.

use std::{cell::RefCell, rc::Rc, time::Duration};

use cpu_time::ProcessTime;
use criterion::{
    Criterion, SamplingMode,
    measurement::{Measurement, ValueFormatter, WallTime},
};

/// An operation that can be repeated.
pub(crate) struct Op {
    /// How many operations one run is.
    pub(crate) per_run: u64,
    /// Makes ready for a run; not measured.
    prepare: Option<Box<dyn FnMut()>>,
    run: Box<dyn FnMut()>,
}

impl Op {
    /// An operation that leaves everything as it was.
    pub(crate) fn new(run: impl FnMut() + 'static) -> Self {
        Self { per_run: 1, prepare: None, run: Box::new(run) }
    }

    /// An operation that uses something up: `prepare` makes it anew for `per_run` of them.
    pub(crate) fn prepared<S: 'static>(
        state: S,
        per_run: u64,
        mut prepare: impl FnMut(&mut S) + 'static,
        mut run: impl FnMut(&mut S) + 'static,
    ) -> Self {
        let state = Rc::new(RefCell::new(state));
        let same = Rc::clone(&state);
        Self {
            per_run,
            prepare: Some(Box::new(move || prepare(&mut same.borrow_mut()))),
            run: Box::new(move || run(&mut state.borrow_mut())),
        }
    }

    /// At least `times` operations; returns the CPU time of that many, preparations left out.
    fn spend(&mut self, times: u64) -> Duration {
        let runs = times.div_ceil(self.per_run);
        let mut spent = Duration::ZERO;
        match &mut self.prepare {
            None => {
                let start = ProcessTime::now();
                (0..runs).for_each(|_| (self.run)());
                spent += start.elapsed();
            }
            Some(prepare) => {
                for _ in 0..runs {
                    prepare();
                    let start = ProcessTime::now();
                    (self.run)();
                    spent += start.elapsed();
                }
            }
        }
        spent.mul_f64(times as f64 / (runs * self.per_run) as f64)
    }

    /// Prepares and runs, so many times; `within` calls what is measured.
    pub(crate) fn repeat(&mut self, runs: u64, within: impl Fn(&mut dyn FnMut())) {
        for _ in 0..runs {
            if let Some(prepare) = &mut self.prepare {
                prepare();
            }
            within(&mut self.run);
        }
    }

    /// Allocations and bytes of one operation, once everything is warm.
    fn allocations(&mut self) -> Allocations {
        self.repeat(2, |run| run());
        if let Some(prepare) = &mut self.prepare {
            prepare();
        }
        let info = allocation_counter::measure(|| (self.run)());
        let each = |all: u64| all as f64 / self.per_run as f64;
        Allocations { count: each(info.count_total), bytes: each(info.bytes_total) }
    }
}

/// What one operation allocates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocations {
    pub(crate) count: f64,
    pub(crate) bytes: f64,
}

/// What one operation costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// CPU time, in nanoseconds.
    pub(crate) ns: f64,
    pub(crate) allocations: Allocations,
}

/// CPU time of the whole process, which other processes disturb less than they do the clock on the wall.
#[derive(Debug)]
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = ProcessTime;
    type Value = Duration;

    fn start(&self) -> ProcessTime {
        ProcessTime::now()
    }

    fn end(&self, start: ProcessTime) -> Duration {
        start.elapsed()
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        // It writes durations of any clock alike.
        static WALL: WallTime = WallTime;
        WALL.formatter()
    }
}

/// Measures the operations of one row in turns, so that a disturbance of the machine meets all of them, and
/// returns for each the best round's median.
pub(crate) fn measure(row: &str, rounds: usize, ops: &mut [(&'static str, Op)]) -> Vec<Cost> {
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    let mut best = vec![f64::INFINITY; ops.len()];
    for round in 1..=rounds {
        for ((side, op), best) in ops.iter_mut().zip(&mut best) {
            let mut samples = Vec::new();
            let mut group = criterion.benchmark_group(format!("{row}/{side}"));
            group.sampling_mode(SamplingMode::Flat);
            group.bench_function(format!("round {round}"), |bencher| {
                bencher.iter_custom(|times| {
                    let spent = op.spend(times);
                    samples.push(spent.as_nanos() as f64 / times as f64);
                    spent
                });
            });
            group.finish();
            // Criterion's warm-up comes first; its ten samples are the last.
            let samples = &mut samples[..];
            let at = samples.len().saturating_sub(10);
            let last = &mut samples[at..];
            last.sort_by(f64::total_cmp);
            *best = best.min(last.get(last.len() / 2).copied().unwrap_or(f64::INFINITY));
        }
    }
    let costs = ops.iter_mut().zip(best);
    costs.map(|((_, op), ns)| Cost { ns, allocations: op.allocations() }).collect()
}
