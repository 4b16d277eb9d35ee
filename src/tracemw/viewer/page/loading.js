// Answers that are loaded now, and looked after while somebody looks at them.

import { useEffect, useState } from "./vendor/htm-preact.js";
import { inlined } from "./inlined.js";

/**
 * What `ask(known, signal)` answers: `{ data, error, loading }`.
 *
 * `known` is the version of the answer that is there; an answer of undefined says that it still holds. While `every` is
 * not 0, the question is asked again after so many milliseconds, unless the page is hidden or is one file.
 */
export function useAnswer(ask, reasons, every = 0) {
  const [state, setState] = useState({ loading: true });
  useEffect(() => {
    const abort = new AbortController();
    let timer;
    let known;
    const look = async () => {
      try {
        if (known === undefined || !document.hidden) {
          const data = await ask(known, abort.signal);
          if (data !== undefined) {
            known = data?.version;
            setState({ data, loading: false });
          } else setState((before) => (before.error ? { ...before, error: undefined } : before));
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        setState((before) => ({ data: before.data, error: error.message, loading: false }));
      }
      if (every && !inlined) timer = setTimeout(look, every);
    };
    look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [...reasons, every]);
  return state;
}
