// Run once, by the image, when the volume is empty: the program's own user, who may use its database and no other.
db.getSiblingDB("admin").createUser({
  user: "faceid",
  pwd: require("fs").readFileSync("/run/secrets/faceid_password", "utf8"),
  roles: [{ role: "readWrite", db: "faceid" }],
});
