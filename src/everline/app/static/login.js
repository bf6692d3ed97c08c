// A sign-in link carries the token behind the #, which never leaves the browser: put it into the form and send that.
const found = /[#&]token=([^&]+)/.exec(location.hash);
if (found) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("token").value = decodeURIComponent(found[1]);
  document.getElementById("login").submit();
}
