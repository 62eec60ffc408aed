//! Rule N7, checked by the compiler: a type may be called self-wiping because each field that is
//! secret is, and every field was looked at. (A derived `Drop` would forbid moving out of a state.)

use zeroize::ZeroizeOnDrop;

/// Holds for a value that wipes itself.
pub(crate) const fn wipes<T: ZeroizeOnDrop>(_: &T) {}

/// Declares a struct self-wiping by naming all its fields: those with secrets must wipe themselves,
/// and a field that is not named does not compile.
macro_rules! wipes_by_its_fields {
    ($name:ident { secret: $($secret:ident),+ ; public: $($public:ident),* }) => {
        impl zeroize::ZeroizeOnDrop for $name {}
        const _: fn(&$name) = |value| {
            let $name { $($secret,)+ $($public: _,)* } = value;
            $($crate::handshake::wipes($secret);)+
        };
    };
}

pub(crate) use wipes_by_its_fields;
