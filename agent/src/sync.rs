//! Locks that survive a panic of another holder: every critical section here leaves its data whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Counts changes of many things, so that the one who looks at them all need not while there are none.
/// All clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Arc<AtomicU64>);

impl Changes {
    /// To be called after the change, or under the lock that the change is seen through.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// To be asked before a look: what is noted later may have been missed by it.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Wakes the one who waits for it; it rings until it is heard.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        if !std::mem::replace(&mut *lock(&self.rings), true) {
            self.rung.notify_one();
        }
    }

    /// Waits for at most `patience`; returns whether it rang, and stops it.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let waited = self.rung.wait_timeout_while(lock(&self.rings), patience, |rings| !*rings);
        let (mut rings, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rings)
    }
}
