//! Where a process is, and what is decided of it there.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use wattribute::split::InstanceId;
use wattribute::units::Microseconds;

use super::claims::Billing;
use super::occupant::Remark;
use super::series::SeriesId;

/// A verdict, or the place where it will be.
pub type Ticket = Rc<OnceCell<Billing>>;

/// A GPU, by UUID, and a MIG instance of it.
pub type Spot = (Arc<str>, Option<InstanceId>);

/// A process's place on one GPU, or MIG instance.
#[derive(Debug, Default)]
pub struct Place {
    /// What the driver calls the MIG instance.
    pub mig_uuid: Option<Arc<str>>,
    pub ticket: Ticket,
    /// What it was billed to before the rules changed.
    earlier: Option<Billing>,
    /// When the process left the GPU; the place stays while its verdict is awaited.
    pub left: Option<Microseconds>,
    /// Fixed at first sight.
    pub series: Option<[Option<SeriesId>; 2]>,
    /// For who asks why.
    pub remark: Remark,
}

impl Place {
    /// Its facts cannot be had: what waits for them is nobody's.
    pub fn give_up(&self) {
        self.ticket.get_or_init(|| Billing::unattributed(self.series.unwrap_or_default()));
    }

    /// What it was billed to under the rules before is the best there is.
    pub fn settle_for_earlier(&self) {
        if let Some(earlier) = &self.earlier {
            self.ticket.get_or_init(|| earlier.clone());
        }
    }

    /// The rules changed: the verdict is to be reached anew.
    pub fn reopen(&mut self) {
        if let Some(billing) = self.ticket.get() {
            self.earlier = Some(billing.clone());
            self.ticket = Ticket::default();
        }
    }

    /// Takes a verdict; gives it back where it is a new one. It counts from the next interval on if there was another.
    pub fn decide(&mut self, billing: Billing) -> Option<Billing> {
        match self.ticket.get() {
            Some(earlier) if *earlier == billing => return None,
            Some(_) => self.ticket = Ticket::default(),
            None => {}
        }
        Some(self.ticket.get_or_init(|| billing).clone())
    }

    /// When it was left, if it was and no interval waits for its verdict any more.
    pub fn vacated(&self) -> Option<Microseconds> {
        let is_awaited = self.ticket.get().is_none() && Rc::strong_count(&self.ticket) > 1;
        self.left.filter(|_| !is_awaited)
    }
}

/// The places of one process: most have one, so that a list is the smallest and the quickest.
#[derive(Debug, Default)]
pub struct Places(Vec<(Spot, Place)>);

impl Places {
    pub fn get(&self, spot: &Spot) -> Option<&Place> {
        self.0.iter().find(|(own, _)| own == spot).map(|(_, place)| place)
    }

    pub fn get_mut(&mut self, spot: &Spot) -> Option<&mut Place> {
        self.0.iter_mut().find(|(own, _)| own == spot).map(|(_, place)| place)
    }

    /// Its place there, a new one if it had none.
    pub fn take(&mut self, spot: &Spot) -> &mut Place {
        let index = self.0.iter().position(|(own, _)| own == spot).unwrap_or_else(|| {
            self.0.reserve_exact(1);
            self.0.push((spot.clone(), Place::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Spot, Place)> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.0.iter_mut().map(|(_, place)| place)
    }

    pub fn retain(&mut self, mut stays: impl FnMut(&Place) -> bool) {
        self.0.retain(|(_, place)| stays(place));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
