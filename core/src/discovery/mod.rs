//! Discovery.
pub mod keys;
pub mod message;
pub mod packet;

#[cfg(test)]
mod tests;
