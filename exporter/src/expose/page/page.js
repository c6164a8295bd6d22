
'use strict';
/* Fetches the page anew every few seconds and takes over what has changed, node by node: focus, scroll position, open
   details and text that is being selected stay. It stops while nobody looks, and when told to. */
(() => {
  const PERIOD = 4000, PATIENCE = 15000;
  const main = document.getElementById('main');
  const status = document.getElementById('status');
  const button = document.getElementById('pause');
  let paused = false, timer = 0, asking = false;

  const say = (text, state) => {
    document.documentElement.dataset.live = state;
    if (status.textContent !== text) status.textContent = text;
  };

  const key = (node) => node.nodeType === 1 ? node.dataset.key : undefined;
  const fits = (one, other) => one.nodeName === other.nodeName && key(one) === key(other);

  const attributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === 'open' && old.nodeName === 'DETAILS')) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const morph = (old, fresh) => {
    if (old.nodeType === 3) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else if (old.nodeType === 1) {
      attributes(old, fresh);
      children(old, fresh);
    }
  };

  const children = (old, fresh) => {
    const keyed = new Map([...old.children].filter(key).map((child) => [key(child), child]));
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const known = key(child) ? keyed.get(key(child)) : next && fits(next, child) ? next : undefined;
      if (!known || !fits(known, child)) {
        old.insertBefore(document.importNode(child, true), next);
        continue;
      }
      keyed.delete(key(child));
      if (known === next) next = next.nextSibling; else old.insertBefore(known, next);
      morph(known, child);
    }
    while (next) {
      const last = next;
      next = next.nextSibling;
      last.remove();
    }
  };

  const takeOver = (text) => {
    const fresh = new DOMParser().parseFromString(text, 'text/html').getElementById('main');
    if (!fresh) throw new Error('not the page');
    const focused = document.activeElement;
    children(main, fresh);
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  };

  const isSelecting = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  };

  const ask = async () => {
    if (asking || paused || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(location.origin + location.pathname, {
        cache: 'no-store', headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(PATIENCE),
      });
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      if (!paused && !isSelecting()) takeOver(text);
      if (!paused) say('Live', 'on');
    } catch {
      if (!paused) say('No connection: the values are old', 'lost');
    } finally {
      asking = false;
      plan();
    }
  };

  const plan = () => {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(ask, PERIOD);
  };

  button.addEventListener('click', () => {
    paused = !paused;
    button.textContent = paused ? 'Go on' : 'Pause';
    say(paused ? 'Paused' : 'Live', paused ? 'off' : 'on');
    if (paused) clearTimeout(timer); else ask();
  });
  document.addEventListener('visibilitychange', () => document.hidden ? clearTimeout(timer) : ask());
  button.hidden = false;
  say('Live', 'on');
  plan();
})();
