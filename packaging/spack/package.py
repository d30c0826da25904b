# Copyright The pmirror authors. See LICENSE at the top of the source.
#
# SPDX-License-Identifier: MIT
"""The recipe for Spack 1.0 and newer; README.md beside spack/ says how it is used."""

from spack_repo.builtin.build_systems.generic import Package

from spack.package import *


class Pmirror(Package):
    """Mirrors a file system with all ranks of a Slurm job: MPI work stealing,
    bounded memory, nothing lost."""

    # There is no place to fetch it from: `spack develop` takes the source where it lies.
    manual_download = True

    license("MIT", checked_by="The pmirror authors")

    version("0.1.0")

    variant("mpi", default=True, description="Ranks as MPI processes; without it one rank")

    depends_on("c", type="build")
    depends_on("rust@1.88:", type="build")
    depends_on("mpi", when="+mpi")
    # Its libclang reads the header of MPI.
    depends_on("llvm+clang", type="build", when="+mpi")

    def setup_build_environment(self, env):
        if self.spec.satisfies("+mpi"):
            env.set("MPICC", self.spec["mpi"].mpicc)
            env.set("LIBCLANG_PATH", self.spec["llvm"].prefix.lib)

    def install(self, spec, prefix):
        options = [] if spec.satisfies("+mpi") else ["--no-default-features"]
        cargo = which("cargo", required=True)
        cargo("build", "--release", "--locked", "--jobs", str(make_jobs), *options)
        install_all = Executable("packaging/install.sh")
        install_all(str(prefix))

    def setup_run_environment(self, env):
        env.set("PMIRROR_SLURM_DIR", self.prefix.share.pmirror.slurm)

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def mirror_its_own_pages(self):
        """A first copy and a comparison, by one rank."""
        pmirror = Executable(self.prefix.bin.pmirror)
        pages = self.prefix.share.doc
        with working_dir("check", create=True):
            pmirror("sync", str(pages), "copy")
            pmirror("cmp", "--level", "hash", str(pages), "copy")
