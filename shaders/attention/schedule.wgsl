// Everything about where rows lie and who reads them: one buffer, so that both kernels fit 8 of them.
// Offsets of its arrays are in the parameters.

// appended, 3 unused words; head_rows [H][2]; starts [Q_LEN][H]; group_first; head_slots [H + 1];
// segments [S][4]; page table; mask [H][mask_words].
@group(0) @binding(6) var<storage, read> schedule: array<u32>;
