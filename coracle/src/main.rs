//! The `coracle` program.

mod cli;

fn main() -> std::process::ExitCode {
    // The inner life of a node, for whoever looks for a fault: RUST_LOG=debug, say. On standard
    // error, so that standard output stays what the commands print.
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::ERROR.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    cli::main()
}
