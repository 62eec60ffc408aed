//! Reference models: what a store or a table must hold after any history, said a second time and simply.

mod sessions;
mod spoiled;
mod table;
