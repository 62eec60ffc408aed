//! For tests only: proptest with a fixed seed, so that every run tries the same cases.

use proptest::test_runner::{Config, RngSeed};

/// The usual number of cases (`PROPTEST_CASES`) divided by `cost`, from a seed that is fixed unless
/// `PROPTEST_RNG_SEED` gives one. A failure prints its case.
pub(crate) fn cases(cost: u32) -> Config {
    let usual = Config::default();
    let rng_seed = match usual.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0x00C0_4AC1),
        fixed => fixed,
    };
    Config { cases: (usual.cases / cost).max(1), rng_seed, ..usual }
}
