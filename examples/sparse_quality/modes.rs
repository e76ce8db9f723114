//! What is compared.

use fewbytes::attention::sparse::{Amount, Mode, Selection, Share, Tail};

/// A row of the tables.
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) share: Share,
    /// Whether the index has keys less their mean.
    pub(crate) centred: bool,
}

impl Setting {
    pub(crate) fn share(&self) -> &'static str {
        match self.share {
            Share::Query => "query",
            Share::Group => "group",
        }
    }
}

const CENTRED: &str = ", centred";
const TAILS: [(Tail, &str); 2] = [(Tail::None, ""), (Tail::Mean, ", tail")];

pub(crate) fn all() -> Vec<Setting> {
    let mut all = Vec::new();
    let threshold = Mode::new(Selection::Threshold { keep: 0.05 });
    for (tail, word) in TAILS {
        let (name, mode) = (format!("all rows, T 5 %{word}"), Mode { tail, ..threshold });
        all.push(Setting { name, mode, share: Share::Group, centred: false });
    }
    for share in [Share::Query, Share::Group] {
        let mut add = |name: String, mode| {
            let centred = name.ends_with(CENTRED);
            all.push(Setting { name, mode, share, centred });
        };
        add("conservative: M n/2, T 5 %".into(), Mode::conservative());
        add("balanced: the same, tail".into(), Mode::balanced());
        add("aggressive: M n/8, T 10 %".into(), Mode::aggressive());
        let greedy = |part, keep| {
            let steps = Amount::Fraction(part);
            Selection::Greedy { steps, keep, exact: false }
        };
        for (tail, word) in TAILS {
            let selection = greedy(0.5, 0.0);
            add(format!("M n/2, T 0{word}"), Mode { selection, tail });
        }
        add("M n, T 5 %".into(), Mode::new(greedy(1.0, 0.05)));
        add(format!("conservative{CENTRED}"), Mode::conservative());
        add(format!("balanced{CENTRED}"), Mode::balanced());
        add(format!("aggressive{CENTRED}"), Mode::aggressive());
        add(format!("M n/8, T 0{CENTRED}"), Mode::new(greedy(0.125, 0.0)));
        add(format!("M n/2, T 0{CENTRED}"), Mode::new(greedy(0.5, 0.0)));
        for part in [16, 8] {
            let k = Amount::Fraction(1.0 / f64::from(part));
            add(format!("top k n/{part}"), Mode::new(Selection::TopK { k }));
        }
        for r in [8, 16] {
            for part in [16, 8] {
                for (tail, word) in TAILS {
                    let k = Amount::Fraction(1.0 / f64::from(part));
                    let selection = Selection::ComponentTopR { r, k };
                    add(format!("components r {r}, k n/{part}{word}"), Mode { selection, tail });
                }
            }
        }
    }
    all
}
