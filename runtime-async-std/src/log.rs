//! Notices as log events: every address that is dialled, with how it is known and what came of it.

use coracle_core::node::Notice;
use tracing::{debug, info};

/// Logs a notice: what a person who looks for a fault wants to see as `info`, the steps to it as `debug`.
pub(crate) fn log(notice: &Notice) {
    match notice {
        Notice::Dialling { peer, endpoint, origin, .. } => {
            debug!(%peer, %endpoint, source = %origin, "dialling")
        }
        Notice::DialFailed { peer, endpoint, origin, reason, .. } => {
            debug!(%peer, %endpoint, source = %origin, %reason, "dial failed");
        }
        Notice::DiallingAnyone { endpoint, .. } => debug!(%endpoint, "dialling whoever is there"),
        Notice::AnyoneFailed { endpoint, reason, .. } => debug!(%endpoint, %reason, "no member there to use"),
        Notice::ChannelUp { peer, endpoint, origin, first, .. } => {
            info!(%peer, %endpoint, source = %origin, first, "channel");
        }
        Notice::ChannelDown { peer, reason, still_connected, .. } => {
            info!(%peer, %reason, still_connected, "channel ended");
        }
        Notice::Refused { from, reason, .. } => debug!(%from, %reason, "inbound connection refused"),
        Notice::Unreachable { peer, why } => info!(%peer, ?why, "unreachable"),
        Notice::MemberAdded { peer } => info!(%peer, "member added"),
        Notice::MemberRemoved { peer } => info!(%peer, "member removed"),
        other => debug!(notice = ?other),
    }
}
