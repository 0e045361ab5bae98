//! Makes an input shorter as long as it still shows the same.

/// Inputs that are tried for one finding.
const TRIES: usize = 300;

/// The shortest input found for which `shows` gives something, and what it gave;
/// `None` when no shorter one does. Whole pieces are left out, halves first.
pub(super) fn shortest<F>(input: &[u8], mut shows: impl FnMut(&[u8]) -> Option<F>) -> Option<F> {
    let (mut input, mut best) = (input.to_vec(), None);
    let mut tries = 0;
    let mut piece = input.len();
    while piece > 0 {
        let mut at = 0;
        while at < input.len() && tries < TRIES {
            tries += 1;
            let mut shorter = input.clone();
            shorter.drain(at..(at + piece).min(input.len()));
            match shows(&shorter) {
                Some(found) => (input, best) = (shorter, Some(found)),
                None => at += piece,
            }
        }
        piece /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let noise = [&b"some noise "[..], b"!", &[b'x'; 400], b"?", b" more"].concat();
        let shows = |input: &[u8]| (input.contains(&b'!') && input.contains(&b'?')).then(|| input.to_vec());
        assert_eq!(shortest(&noise, shows), Some(b"!?".to_vec()));
    }

    #[test]
    fn what_is_shortest_already_stays() {
        assert_eq!(shortest(b"!", |input| input.contains(&b'!').then_some(())), None);
    }

    #[test]
    fn search_is_bounded() {
        let mut tries = 0;
        let _ = shortest(&[0; 5000], |_| {
            tries += 1;
            None::<()>
        });
        assert!(tries <= TRIES, "{tries}");
    }
}
