//! Which client a key belongs to and what it may do. It comes from the server's own key line, never
//! from what the client sends.

use super::ClientName;

/// What one ssh key may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The client whose trees are meant by every request.
    pub client: ClientName,
}
