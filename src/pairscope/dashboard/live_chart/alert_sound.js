// A short sound for an alert, made here; off until a person wants it, and the browser remembers.

const KEY = "pairscope.alerts.sound";
let wanted = null;
let context = null;

export function soundIsOn() {
  if (wanted === null) {
    try {
      wanted = localStorage.getItem(KEY) === "on";
    } catch {
      wanted = false;
    }
  }
  return wanted;
}

/** Switch the sound; it is heard at once where it goes on, which also lets the browser play it later. */
export function setSound(on) {
  wanted = on;
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    /* a private window: remembered until it is closed */
  }
  if (on) ring();
}

/** Two notes, if sound is on. */
export function ring() {
  if (!soundIsOn()) return;
  try {
    context ??= new AudioContext();
    context.resume();
    [[660, 0], [880, 0.14]].forEach(([pitch, after]) => note(pitch, context.currentTime + after));
  } catch {
    /* a browser without sound */
  }
}

function note(pitch, at) {
  const [tone, loudness] = [context.createOscillator(), context.createGain()];
  tone.frequency.value = pitch;
  loudness.gain.setValueAtTime(0.0001, at);
  loudness.gain.exponentialRampToValueAtTime(0.16, at + 0.02);
  loudness.gain.exponentialRampToValueAtTime(0.0001, at + 0.3);
  tone.connect(loudness).connect(context.destination);
  tone.start(at);
  tone.stop(at + 0.32);
}
