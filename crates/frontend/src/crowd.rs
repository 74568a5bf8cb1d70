//! How many connections one address may have at a time: whoever opens many leaves places for others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Crowd {
    /// Of one address.
    most: usize,
    /// No entry for none.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place of an address, given back when dropped.
pub struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, by_address: Mutex::default() })
    }

    /// `None` while the address has all that it may.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = whole(address);
        let mut all = self.lock();
        let count = all.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { crowd: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.crowd.lock();
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// Who has one address of IPv6 has the 2^64 beside it, too.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_leaves_places_for_others() {
        let crowd = Crowd::new(2);
        let held = [crowd.enter(ip("10.0.0.1")), crowd.enter(ip("::ffff:10.0.0.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(crowd.enter(ip("10.0.0.1")).is_none());
        assert!(crowd.enter(ip("10.0.0.2")).is_some());
        drop(held);
        assert!(crowd.lock().is_empty());
        assert!(crowd.enter(ip("10.0.0.1")).is_some());
    }

    #[test]
    fn neighbours_of_ipv6_are_one() {
        let crowd = Crowd::new(1);
        let _held = crowd.enter(ip("2001:db8::1")).unwrap();
        assert!(crowd.enter(ip("2001:db8::ffff:2")).is_none());
        assert!(crowd.enter(ip("2001:db8:0:1::1")).is_some());
    }
}
